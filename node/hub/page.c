// SPDX-License-Identifier: MIT
// Reads of the log on their way from a loop to the bus, and the pages on their way back.
#include <stdlib.h>

#include "chatnode/clock.h"
#include "chatnode/frame.h"
#include "hub_private.h"

enum { READ_DEADLINE_MS = 2000 };

struct page_letter {
    struct cn_letter letter;
    uint64_t session;
    struct cn_page_copy *page;
};

void cn_page_free(struct cn_page_copy *page)
{
    for (size_t i = 0; page && i < page->count; i++)
        cn_frame_release(page->frames[i]);
    free(page);
}

static void free_page_letter(struct cn_mail *mail)
{
    struct page_letter *letter =
        CN_CONTAINER(CN_CONTAINER(mail, struct cn_letter, mail), struct page_letter, letter);
    cn_page_free(letter->page);
    free(letter);
}

// Runs on the loop's thread.
static void read_page_letter(struct cn_letter *mail, struct cn_loop *loop)
{
    struct page_letter *letter = CN_CONTAINER(mail, struct page_letter, letter);
    struct cn_session *session = cn_session_find(loop, letter->session);
    if (session) {
        session->in_flight--;
        if (letter->page->token)
            cn_recovery_on_page_take(session, &letter->page);
        else
            cn_history_on_page(session, letter->page);
    }
    free_page_letter(&mail->mail);
}

// What the hub carries along with a read.
struct read_context {
    struct page_letter *letter; // made beforehand with a page that says CN_NOMEM; NULL once sent
};

static struct cn_page_copy *copy_page(const struct cn_page_copy *head, const struct cn_page *page)
{
    size_t count = page->err ? 0 : page->count;
    struct cn_page_copy *copy = calloc(1, sizeof(*copy) + count * sizeof(struct cn_frame *));
    if (!copy)
        return NULL;
    *copy = *head;
    copy->err = page->err;
    copy->exact = page->exact;
    copy->more = page->more;
    copy->tail = page->tail;
    for (; copy->count < count; copy->count++) {
        const struct cn_entry *entry = &page->entries[copy->count];
        struct cn_frame *frame = cn_frame_new(entry->pos, entry->text, (struct cn_str){NULL, 0});
        if (!frame) {
            cn_page_free(copy);
            return NULL;
        }
        copy->frames[copy->count] = frame;
    }
    return copy;
}

static void on_page(void *arg, const struct cn_read *read, const struct cn_page *page)
{
    struct cn_hub *hub = arg;
    struct read_context *context = read->context;
    struct page_letter *letter = context->letter;
    context->letter = NULL;
    struct cn_page_copy *copy = copy_page(letter->page, page);
    if (copy) {
        cn_page_free(letter->page);
        letter->page = copy;
    }
    cn_hub_post(hub, read->session, &letter->letter);
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

static struct page_letter *make_letter(const struct cn_session *session,
                                       const struct cn_read_order *order)
{
    struct page_letter *letter = calloc(1, sizeof(*letter));
    struct cn_page_copy *page = calloc(1, sizeof(*page));
    if (!letter || !page || (order->id.ptr && cn_str_copy(order->id, page->id, sizeof(page->id)))) {
        free(letter);
        free(page);
        return NULL;
    }
    page->channel = order->channel;
    page->err = CN_NOMEM;
    page->kind = order->kind;
    page->token = order->token;
    *letter = (struct page_letter){.letter = {{NULL, free_page_letter}, read_page_letter},
                                   .session = session->registration.id,
                                   .page = page};
    return letter;
}

static struct cn_read *make_read(struct cn_session *session, const struct cn_read_order *order)
{
    struct cn_read *read = calloc(1, sizeof(*read));
    struct read_context *context = calloc(1, sizeof(*context));
    if (context)
        context->letter = make_letter(session, order);
    if (!read || !context || !context->letter) {
        free(read);
        if (context && context->letter)
            free_page_letter(&context->letter->letter.mail);
        free(context);
        return NULL;
    }
    *read = (struct cn_read){.deadline_ms = cn_clock_ms() + READ_DEADLINE_MS,
                             .channel = order->channel,
                             .kind = order->kind,
                             .from = order->from,
                             .limit = order->limit,
                             .done = on_page,
                             .arg = session->loop->hub,
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
        return CN_NOMEM;
    }
    *ask = (struct read_ask){.ask = {{NULL, free_read_ask}, read_read_ask}, .read = read};
    return cn_hub_ask(session, &ask->ask);
}
