// SPDX-License-Identifier: MIT
// The queue between threads: letters are linked under one short lock, the reader woken outside it.
#include "chatnode/mailbox.h"

#include <stdint.h>

void cn_mailbox_init(struct cn_mailbox *box, size_t capacity, void (*wake)(void *arg), void *arg)
{
    *box = (struct cn_mailbox){.capacity = capacity, .wake = wake, .arg = arg};
    cn_mutex_init(&box->lock, CN_RANK_MAILBOX);
}

void cn_mailbox_fini(struct cn_mailbox *box)
{
    struct cn_mail *mail = box->first;
    while (mail != NULL) {
        struct cn_mail *next = mail->next;
        mail->free(mail);
        mail = next;
    }
    box->first = NULL;
    box->last = NULL;
    box->count = 0;
    cn_mutex_fini(&box->lock);
}

// Links the letter in as the last; true when the box was empty before.
static bool append_locked(struct cn_mailbox *box, struct cn_mail *mail)
{
    cn_mutex_assert_held(&box->lock);
    bool was_empty = box->first == NULL;
    mail->next = NULL;
    if (was_empty)
        box->first = mail;
    else
        box->last->next = mail;
    box->last = mail;
    box->count++;
    return was_empty;
}

static enum cn_err put_up_to(struct cn_mailbox *box, struct cn_mail *mail, size_t capacity)
{
    enum cn_err err = CN_OK;
    bool was_empty = false;
    cn_mutex_lock(&box->lock);
    if (box->closed)
        err = CN_CLOSED;
    else if (box->count >= capacity)
        err = CN_FULL;
    else
        was_empty = append_locked(box, mail);
    cn_mutex_unlock(&box->lock);
    if (was_empty)
        box->wake(box->arg);
    return err;
}

enum cn_err cn_mailbox_put(struct cn_mailbox *box, struct cn_mail *mail)
{
    return put_up_to(box, mail, box->capacity);
}

void cn_mailbox_put_always(struct cn_mailbox *box, struct cn_mail *mail)
{
    if (put_up_to(box, mail, SIZE_MAX) != CN_OK)
        mail->free(mail);
}

struct cn_mail *cn_mailbox_take_all(struct cn_mailbox *box)
{
    cn_mutex_lock(&box->lock);
    struct cn_mail *first = box->first;
    box->first = NULL;
    box->last = NULL;
    box->count = 0;
    cn_mutex_unlock(&box->lock);
    return first;
}

void cn_mailbox_close(struct cn_mailbox *box)
{
    cn_mutex_lock(&box->lock);
    box->closed = true;
    cn_mutex_unlock(&box->lock);
}
