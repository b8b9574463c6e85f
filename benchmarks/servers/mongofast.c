/* A MongoDB server that knows one answer: so fast that a client is measured, and not a server.
 *
 *     mongofast HELLO ANSWER
 *
 * Both are files of BSON. HELLO answers "hello" and its older names (the first request of PyMongo is an OP_QUERY, and
 * is answered by an OP_REPLY); ANSWER everything else. The port is printed; it serves until it is ended.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { OP_REPLY = 1, OP_QUERY = 2004, OP_MSG = 2013, ROOM = 1 << 16, EVENTS = 256 };

struct line {
    int fd;
    size_t filled;
    char bytes[ROOM];
};

struct text {
    char bytes[ROOM];
    int32_t size;
};

static struct text hello, answer;

static void load(const char *path, struct text *text)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(1);
    }
    text->size = (int32_t)fread(text->bytes, 1, ROOM / 2, file);
    fclose(file);
}

/* The name of a command is that of its first element. */
static const char *command(const char *message, int32_t opcode)
{
    const char *document = message + 21; /* header, flags, kind of section */
    if (opcode == OP_QUERY)
        document = message + 20 + strlen(message + 20) + 1 + 8; /* header, flags, collection, skip, number */
    return document + 5;
}

/* Writes the answer to one message at `out`; returns its size. */
static size_t reply(const char *message, char *out)
{
    int32_t id, opcode;
    memcpy(&id, message + 4, 4);
    memcpy(&opcode, message + 12, 4);
    const char *name = command(message, opcode);
    const struct text *text = strcasecmp(name, "hello") && strcasecmp(name, "ismaster") ? &answer : &hello;
    size_t front = opcode == OP_QUERY ? 36 : 21;
    int32_t head[] = {(int32_t)front + text->size, 1, id, opcode == OP_QUERY ? OP_REPLY : OP_MSG};
    memset(out, 0, front);
    memcpy(out, head, sizeof head);
    if (opcode == OP_QUERY)
        out[32] = 1; /* documents returned */
    memcpy(out + front, text->bytes, (size_t)text->size);
    return front + (size_t)text->size;
}

/* Answers all that is whole; 0 if the line is through. */
static int serve(struct line *line)
{
    static char out[16 * ROOM];
    ssize_t got = recv(line->fd, line->bytes + line->filled, ROOM - line->filled, 0);
    if (got <= 0)
        return 0;
    line->filled += (size_t)got;
    size_t at = 0, size = 0;
    int32_t length;
    while (line->filled - at >= 4) {
        memcpy(&length, line->bytes + at, 4);
        if (length < 26 || length > ROOM)
            return 0;
        if (line->filled - at < (size_t)length || size + ROOM > sizeof out)
            break;
        size += reply(line->bytes + at, out + size);
        at += (size_t)length;
    }
    memmove(line->bytes, line->bytes + at, line->filled - at);
    line->filled -= at;
    return !size || send(line->fd, out, size, MSG_NOSIGNAL) == (ssize_t)size;
}

int main(int count, char **words)
{
    if (count != 3)
        return 2;
    load(words[1], &hello);
    load(words[2], &answer);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), poll = epoll_create1(0), one = 1;
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 4096) ||
        getsockname(listener, (struct sockaddr *)&address, &size)) {
        perror("listen");
        return 1;
    }
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    struct epoll_event event = {.events = EPOLLIN}, events[EVENTS];
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(poll, events, EVENTS, -1);
        for (int n = 0; n < ready; n++) {
            struct line *line = events[n].data.ptr;
            if (line && serve(line))
                continue;
            if (line) {
                close(line->fd);
                free(line);
                continue;
            }
            int fd = accept(listener, NULL, NULL);
            if (fd < 0 || !(line = calloc(1, sizeof *line)))
                continue;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            line->fd = fd;
            event.data.ptr = line;
            epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
        }
    }
}
