// SPDX-License-Identifier: MIT
// Notices kept in this process. Their file has a line for each, "UNTIL_MS TEXT": appended and
// synced one by one, written anew at the start and when most of its lines are over.
#include "board.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chatnode/hash.h"
#include "chatnode/list.h"
#include "chatnode/log.h"

enum { LINES_MAX = 2 * CN_NOTICES_MAX, LINE_BYTES = CN_NOTICE_BYTES_MAX + 24, PATH_BYTES = 4096 };

struct kept {
    struct cn_hash_node node; // its key is the text
    struct cn_link link;
    int64_t until_ms;
    char text[];
};

struct cn_board {
    struct cn_hash texts;
    struct cn_link order; // of struct kept, oldest first
    char *path;           // NULL: no file
    int fd;               // for appending
    size_t lines;         // in the file
};

// ---- What is kept ----

static void drop(struct cn_board *board, struct kept *kept)
{
    cn_hash_remove(&board->texts, &kept->node);
    cn_list_remove(&kept->link);
    free(kept);
}

static void expire(struct cn_board *board, int64_t now_ms)
{
    CN_LIST_EACH_SAFE (link, &board->order) {
        struct kept *kept = CN_CONTAINER(link, struct kept, link);
        if (kept->until_ms <= now_ms)
            drop(board, kept);
    }
}

static enum cn_err insert(struct cn_board *board, struct cn_str text, int64_t until_ms)
{
    struct kept *kept = calloc(1, sizeof(*kept) + text.len);
    if (!kept)
        return CN_NOMEM;
    kept->until_ms = until_ms;
    memcpy(kept->text, text.ptr, text.len);
    kept->node.key = (struct cn_str){kept->text, text.len};
    cn_list_init(&kept->link);
    enum cn_err err = cn_hash_insert(&board->texts, &kept->node);
    if (err)
        free(kept);
    else
        cn_list_push_back(&board->order, &kept->link);
    return err;
}

static enum cn_err keep(struct cn_board *board, struct cn_str text, int64_t until_ms)
{
    struct cn_hash_node *node = cn_hash_find(&board->texts, text);
    if (!node)
        return board->texts.count < CN_NOTICES_MAX ? insert(board, text, until_ms) : CN_NOSPACE;
    CN_CONTAINER(node, struct kept, node)->until_ms = until_ms;
    return CN_OK;
}

// ---- The file ----

static bool write_line(int fd, struct cn_str text, int64_t until_ms)
{
    char line[LINE_BYTES];
    int len = snprintf(line, sizeof(line), "%" PRId64 " %.*s\n", until_ms, (int)text.len, text.ptr);
    return len > 0 && (size_t)len < sizeof(line) && write(fd, line, (size_t)len) == len;
}

static bool write_all(struct cn_board *board, int fd)
{
    board->lines = 0;
    CN_LIST_EACH (link, &board->order) {
        const struct kept *kept = CN_CONTAINER(link, struct kept, link);
        if (!write_line(fd, kept->node.key, kept->until_ms))
            return false;
        board->lines++;
    }
    return fsync(fd) == 0;
}

// The new name is on the disk as well.
static bool sync_folder(const char *path)
{
    char folder[PATH_BYTES];
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - path) + 1 : 1,
             slash ? path : ".");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return good;
}

// Writes the file anew, beside the old one first, and goes on appending to it.
static bool rewrite(struct cn_board *board)
{
    char beside[PATH_BYTES];
    int len = snprintf(beside, sizeof(beside), "%s.new", board->path);
    if (len < 0 || (size_t)len >= sizeof(beside))
        return false;
    if (unlink(beside) != 0 && errno != ENOENT)
        return false;
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    if (!write_all(board, fd) || rename(beside, board->path) != 0 || !sync_folder(board->path)) {
        close(fd);
        return false;
    }
    if (board->fd >= 0)
        close(board->fd);
    board->fd = fd;
    return true;
}

// "UNTIL_MS TEXT"; the last line may be torn. False when it is not such a line.
static bool parse_line(const char *line, size_t len, int64_t *until_ms, struct cn_str *text)
{
    char *end;
    if (len < 4 || len >= LINE_BYTES || line[len - 1] != '\n' || line[len - 2] != '}')
        return false;
    *until_ms = strtoll(line, &end, 10);
    if (end == line || *end != ' ')
        return false;
    *text = (struct cn_str){end + 1, len - 2 - (size_t)(end - line)};
    return text->len <= CN_NOTICE_BYTES_MAX;
}

static enum cn_err load_lines(struct cn_board *board, FILE *file, int64_t now_ms)
{
    char line[LINE_BYTES + 1];
    enum cn_err err = CN_OK;
    size_t bad = 0;
    while (!err && fgets(line, sizeof(line), file)) {
        int64_t until_ms;
        struct cn_str text;
        if (!parse_line(line, strlen(line), &until_ms, &text))
            bad++;
        else if (until_ms > now_ms)
            err = keep(board, text, until_ms);
    }
    if (bad > 0)
        CN_LOG(WARN, "notices.file", "lines that cannot be read were left out",
               CN_F_STR("path", board->path), CN_F_INT("lines", bad));
    return err == CN_NOSPACE ? CN_OK : err;
}

static enum cn_err load(struct cn_board *board, int64_t now_ms, const char **why)
{
    *why = "revocations-file: it cannot be read";
    FILE *file = fopen(board->path, "re");
    if (!file && errno != ENOENT)
        return CN_INVALID;
    enum cn_err err = file ? load_lines(board, file, now_ms) : CN_OK;
    bool failed = file && ferror(file);
    if (file)
        fclose(file);
    if (err || failed)
        return err ? err : CN_INVALID;
    *why = "revocations-file: it cannot be written, or not in this folder";
    return rewrite(board) ? CN_OK : CN_INVALID;
}

// A line that was written in part is taken back, so that the next one stands on its own.
static bool append(struct cn_board *board, struct cn_str text, int64_t until_ms)
{
    if (board->lines >= LINES_MAX)
        return rewrite(board); // it is kept already
    off_t before = lseek(board->fd, 0, SEEK_END);
    if (before >= 0 && write_line(board->fd, text, until_ms) && fsync(board->fd) == 0) {
        board->lines++;
        return true;
    }
    if (before < 0 || ftruncate(board->fd, before) != 0)
        CN_LOG(ERROR, "notices.file", "the file cannot be mended", CN_F_STR("path", board->path));
    return false;
}

// ---- The seam ----

enum cn_err cn_board_new(const char *path, int64_t now_ms, struct cn_board **out, const char **why)
{
    struct cn_board *board = calloc(1, sizeof(*board));
    *why = "out of memory";
    if (!board)
        return CN_NOMEM;
    cn_hash_init(&board->texts);
    cn_list_init(&board->order);
    board->fd = -1;
    bool has_file = path && path[0];
    board->path = has_file ? strdup(path) : NULL;
    enum cn_err err = has_file && !board->path ? CN_NOMEM : CN_OK;
    if (!err && has_file)
        err = load(board, now_ms, why);
    if (err) {
        cn_board_free(board);
        return err;
    }
    *out = board;
    return CN_OK;
}

void cn_board_free(struct cn_board *board)
{
    if (!board)
        return;
    CN_LIST_EACH_SAFE (link, &board->order)
        drop(board, CN_CONTAINER(link, struct kept, link));
    cn_hash_fini(&board->texts);
    if (board->fd >= 0)
        close(board->fd);
    free(board->path);
    free(board);
}

enum cn_err cn_board_add(struct cn_board *board, struct cn_str text, int64_t until_ms,
                         int64_t now_ms)
{
    expire(board, now_ms);
    enum cn_err err = keep(board, text, until_ms);
    if (err || !board->path || append(board, text, until_ms))
        return err;
    CN_LOG(ERROR, "notices.file", "a notice could not be written", CN_F_STR("path", board->path),
           CN_F_STR("error", strerror(errno)));
    return CN_REFUSED;
}

void cn_board_each(struct cn_board *board, int64_t now_ms,
                   void (*tell)(void *arg, struct cn_str text), void *arg)
{
    expire(board, now_ms);
    CN_LIST_EACH_SAFE (link, &board->order)
        tell(arg, CN_CONTAINER(link, struct kept, link)->node.key);
}
