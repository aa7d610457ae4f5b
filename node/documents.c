// SPDX-License-Identifier: MIT
// The pages of docs/ that are made from the tables in the code.
#include <stdio.h>
#include <string.h>

#include "chatnode/buf.h"
#include "chatnode/config.h"
#include "chatnode/metrics.h"
#include "chatnode/metrics_table.h"
#include "chatnode/protocol.h"
#include "node_private.h"

enum { PAGE_MAX_BYTES = 1 << 20 };

struct document {
    const char *name;
    enum cn_err (*write)(struct cn_buf *out);
};

static enum cn_err write_metrics(struct cn_buf *out)
{
    enum cn_err err = cn_metrics_start(cn_metric_table(), CN_METRIC_ROWS);
    if (!err)
        err = cn_metrics_document(out);
    cn_metrics_stop();
    return err;
}

static enum cn_err write_problems(struct cn_buf *out)
{
    static const struct {
        enum cn_problem problem;
    } all[] = {
#define X(symbol, code, retry, message) {CN_PROBLEM_##symbol},
        CN_PROBLEM_TABLE(X)
#undef X
    };
    enum cn_err err = cn_buf_printf(out, "| code | retry | message |\n| --- | --- | --- |\n");
    for (size_t i = 0; !err && i < CN_COUNT(all); i++)
        err = cn_buf_printf(out, "| `%s` | %s | %s |\n", cn_problem_code(all[i].problem),
                            cn_problem_retry(all[i].problem) ? "yes" : "no",
                            cn_problem_message(all[i].problem));
    return err;
}

static enum cn_err write_reasons(struct cn_buf *out)
{
    enum cn_err err =
        cn_buf_printf(out, "\n| close code | name | meaning |\n| --- | --- | --- |\n");
    for (int i = 0; !err && i < CN_REASON_COUNT; i++) {
        enum cn_reason reason = (enum cn_reason)i;
        if (cn_reason_close_code(reason))
            err = cn_buf_printf(out, "| %u | %s | %s |\n", cn_reason_close_code(reason),
                                cn_reason_name(reason), cn_reason_text(reason));
    }
    return err;
}

static enum cn_err write_protocol(struct cn_buf *out)
{
    enum cn_err err = write_problems(out);
    return err ? err : write_reasons(out);
}

static const struct document documents[] = {
    {"config", cn_config_document},
    {"metrics", write_metrics},
    {"protocol", write_protocol},
};

enum cn_exit cn_document_print(const char *which)
{
    for (size_t i = 0; i < CN_COUNT(documents); i++) {
        if (strcmp(which, documents[i].name) != 0)
            continue;
        struct cn_buf page;
        cn_buf_init(&page, PAGE_MAX_BYTES);
        enum cn_err err = documents[i].write(&page);
        if (!err)
            fwrite(page.data, 1, page.len, stdout);
        cn_buf_fini(&page);
        return err ? CN_EXIT_FAILED : CN_EXIT_OK;
    }
    fprintf(stderr, "chatnode: --print-docs takes config, metrics or protocol\n");
    return CN_EXIT_CONFIG;
}
