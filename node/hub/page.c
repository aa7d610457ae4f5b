// SPDX-License-Identifier: MIT
// Reads of the log on their way from a loop to the bus, and the pages on their way back.
#include <stdlib.h>

#include "chatnode/clock.h"
#include "chatnode/frame.h"
#include "hub_private.h"

enum { PAGE_BYTES = 1 << 20 }; // of text in one page, unless one entry alone has more

struct page_letter {
    struct cn_letter letter;
    uint64_t session;
    unsigned loop;
    struct cn_page_copy *page;
};

// ---- Pages ----

struct cn_page_copy *cn_page_hold(struct cn_page_copy *page)
{
    page->references++;
    return page;
}

void cn_page_release(struct cn_page_copy *page)
{
    if (!page || --page->references > 0)
        return;
    for (size_t i = 0; i < page->count; i++)
        cn_frame_release(page->frames[i]);
    cn_history_free(page->history);
    free(page);
}

bool cn_page_after(const struct cn_page_copy *page, struct cn_pos pos, size_t *at)
{
    if (page->kind == CN_READ_AFTER && cn_pos_compare(page->from, pos) == 0) {
        *at = 0;
        return page->exact;
    }
    size_t low = 0;
    size_t high = page->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (cn_pos_compare(page->frames[middle]->pos, pos) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *at = low + 1;
    return low < page->count && cn_pos_compare(page->frames[low]->pos, pos) == 0;
}

// ---- Letters ----

static void free_page_letter(struct cn_mail *mail)
{
    struct page_letter *letter =
        CN_CONTAINER(CN_CONTAINER(mail, struct cn_letter, mail), struct page_letter, letter);
    cn_page_release(letter->page);
    free(letter);
}

// Runs on the loop's thread. Who asked may be gone: others may wait for the same page.
static void read_page_letter(struct cn_letter *mail, struct cn_loop *loop)
{
    struct page_letter *letter = CN_CONTAINER(mail, struct page_letter, letter);
    struct cn_session *session = cn_session_find(loop, letter->session);
    if (session)
        cn_session_answered(session);
    if (letter->page->token)
        cn_shelf_on_page(loop, letter->page);
    else if (session)
        cn_history_on_page(session, letter->page);
    free_page_letter(&mail->mail);
}

// ---- On main ----

// What the hub carries along with a read.
struct read_context {
    struct page_letter *letter; // made beforehand with a page that says CN_NOMEM; NULL once sent
};

static void note(struct cn_page_copy *copy, const struct cn_page *page)
{
    copy->err = page->err;
    copy->exact = page->exact;
    copy->more = page->more;
    copy->tail = page->tail;
}

// Which entries fit into PAGE_BYTES: [*first, *end), at least one. A read after a position keeps
// the oldest, the others keep the newest.
static void cut(const struct cn_page *page, enum cn_read_kind kind, size_t *first, size_t *end)
{
    size_t bytes = 0;
    size_t count = 0;
    for (; count < page->count; count++) {
        size_t at = kind == CN_READ_AFTER ? count : page->count - 1 - count;
        bytes += page->entries[at].text.len;
        if (bytes > PAGE_BYTES && count > 0)
            break;
    }
    *first = kind == CN_READ_AFTER ? 0 : page->count - count;
    *end = *first + count;
}

static struct cn_page_copy *copy_page(const struct cn_page_copy *head, const struct cn_page *page)
{
    size_t first = 0;
    size_t end = 0;
    if (!page->err)
        cut(page, head->kind, &first, &end);
    struct cn_page_copy *copy =
        calloc(1, sizeof(*copy) + (end - first) * sizeof(struct cn_frame *));
    if (!copy)
        return NULL;
    *copy = *head;
    note(copy, page);
    copy->more |= !page->err && end - first < page->count;
    for (; copy->count < end - first; copy->count++) {
        const struct cn_entry *entry = &page->entries[first + copy->count];
        struct cn_frame *frame = cn_frame_new(entry->pos, entry->text, (struct cn_str){NULL, 0});
        if (!frame) {
            cn_page_release(copy);
            return NULL;
        }
        copy->bytes += frame->len;
        copy->frames[copy->count] = frame;
    }
    return copy;
}

// Puts what came into the letter; without memory its page goes on saying CN_NOMEM.
static void fill_letter(struct page_letter *letter, const struct cn_page *page)
{
    struct cn_page_copy *head = letter->page;
    if (head->history) {
        enum cn_err err = page->err ? CN_OK : cn_history_take(head->history, page);
        if (!err)
            note(head, page);
        return;
    }
    struct cn_page_copy *copy = copy_page(head, page);
    if (!copy)
        return;
    letter->page = copy;
    cn_page_release(head);
}

static void on_page(void *arg, const struct cn_read *read, const struct cn_page *page)
{
    struct cn_hub *hub = arg;
    struct read_context *context = read->context;
    struct page_letter *letter = context->letter;
    context->letter = NULL;
    fill_letter(letter, page);
    cn_loop_post_always(hub->loops[letter->loop], &letter->letter);
}

struct read_ask {
    struct cn_ask ask;
    struct cn_read *read;
};

// Frees one that was never handed to the bus. Takes NULL.
static void free_read(struct cn_read *read)
{
    struct read_context *context = read ? read->context : NULL;
    if (context && context->letter)
        free_page_letter(&context->letter->letter.mail);
    free(context);
    free(read);
}

static void free_read_ask(struct cn_mail *mail)
{
    struct read_ask *ask = CN_CONTAINER(mail, struct read_ask, ask.mail);
    free_read(ask->read);
    free(ask);
}

static void read_read_ask(struct cn_ask *mail, struct cn_hub *hub)
{
    struct read_ask *ask = CN_CONTAINER(mail, struct read_ask, ask);
    cn_bus_read_take(hub->bus, &ask->read);
    free(ask);
}

// ---- From the loop to main ----

static struct page_letter *make_letter(const struct cn_session *session,
                                       const struct cn_read_order *order)
{
    struct page_letter *letter = calloc(1, sizeof(*letter));
    struct cn_page_copy *page = calloc(1, sizeof(*page));
    if (!letter || !page) {
        free(letter);
        free(page);
        return NULL;
    }
    *page = (struct cn_page_copy){.references = 1,
                                  .channel = order->channel,
                                  .err = CN_NOMEM,
                                  .kind = order->kind,
                                  .from = order->from,
                                  .token = order->token};
    *letter = (struct page_letter){.letter = {{NULL, free_page_letter}, read_page_letter},
                                   .session = session->registration.id,
                                   .loop = session->loop->index,
                                   .page = page};
    return letter;
}

static struct cn_read *make_read(struct cn_session *session, const struct cn_read_order *order)
{
    struct cn_hub *hub = session->loop->hub;
    struct cn_read *read = calloc(1, sizeof(*read));
    struct read_context *context = calloc(1, sizeof(*context));
    struct page_letter *letter = make_letter(session, order);
    if (!read || !context || !letter) {
        free(read);
        free(context);
        if (letter)
            free_page_letter(&letter->letter.mail);
        return NULL;
    }
    context->letter = letter;
    *read = (struct cn_read){.deadline_ms = cn_clock_ms() + hub->config->read_deadline_ms,
                             .channel = order->channel,
                             .kind = order->kind,
                             .from = order->from,
                             .limit = order->limit,
                             .done = on_page,
                             .arg = hub,
                             .session = session->registration.id,
                             .context = context};
    return read;
}

enum cn_err cn_read_send(struct cn_session *session, const struct cn_read_order *order)
{
    struct read_ask *ask = malloc(sizeof(*ask));
    struct cn_read *read = make_read(session, order);
    if (!ask || !read) {
        free_read(read);
        free(ask);
        cn_history_free(order->history);
        return CN_NOMEM;
    }
    struct read_context *context = read->context;
    context->letter->page->history = order->history;
    *ask = (struct read_ask){.ask = {{NULL, free_read_ask}, read_read_ask}, .read = read};
    enum cn_err err = cn_hub_ask(session, &ask->ask);
    if (!err)
        cn_metrics_add(CN_M_READS_SENT, 1);
    return err;
}
