/* A gRPC echo over libnghttp2: so fast that a client is measured, and not a server.
 *
 *     cc -O2 grpcfast.c -lnghttp2 -o grpcfast
 *
 * Each unary call is answered with the message it came with, framed as it came, and grpc-status 0. The port is
 * printed; it serves until its standard input ends.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROOM = 1 << 16, EVENTS = 256, STREAMS = 1024, WINDOW = 1 << 24 };

struct line {
    int fd, poll;
    uint32_t waits; /* for these events */
    nghttp2_session *session;
    uint8_t *unsent; /* what the socket did not take */
    size_t left, size;
};

struct call {
    uint8_t *message;
    size_t size, room, sent;
};

#define FIELD(name, value) {(uint8_t *)name, (uint8_t *)value, sizeof name - 1, sizeof value - 1, NGHTTP2_NV_FLAG_NONE}

static nghttp2_nv head[] = {FIELD(":status", "200"), FIELD("content-type", "application/grpc")};
static nghttp2_nv trailers[] = {FIELD("grpc-status", "0")};

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void)user;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, calloc(1, sizeof(struct call)));
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data, size_t size, void *user)
{
    struct call *call = nghttp2_session_get_stream_user_data(session, stream);
    (void)flags, (void)user;
    if (call->size + size > call->room) {
        call->room = (call->size + size) * 2;
        call->message = realloc(call->message, call->room);
    }
    memcpy(call->message + call->size, data, size);
    call->size += size;
    return 0;
}

static ssize_t give(nghttp2_session *session, int32_t stream, uint8_t *out, size_t room, uint32_t *flags,
                    nghttp2_data_source *source, void *user)
{
    struct call *call = source->ptr;
    size_t left = call->size - call->sent, size = left < room ? left : room;
    (void)user;
    memcpy(out, call->message + call->sent, size);
    call->sent += size;
    if (call->sent == call->size) {
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        nghttp2_submit_trailer(session, stream, trailers, 1);
    }
    return (ssize_t)size;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    int asked = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
    (void)user;
    if (asked && frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
        struct call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
        nghttp2_data_provider body = {{.ptr = call}, give};
        return nghttp2_submit_response(session, frame->hd.stream_id, head, 2, &body);
    }
    return 0;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t code, void *user)
{
    struct call *call = nghttp2_session_get_stream_user_data(session, stream);
    (void)code, (void)user;
    if (call) {
        free(call->message);
        free(call);
    }
    return 0;
}

/* Sends all there is in large pieces, as far as the socket takes it; -1 when the line is to be closed. */
static int flush(struct line *line)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = line};
    for (;;) {
        const uint8_t *piece;
        ssize_t size;
        while (line->left < ROOM && (size = nghttp2_session_mem_send(line->session, &piece)) != 0) {
            if (size < 0)
                return -1;
            if (line->left + (size_t)size > line->size) {
                line->size = (line->left + (size_t)size) * 2;
                line->unsent = realloc(line->unsent, line->size);
            }
            memcpy(line->unsent + line->left, piece, (size_t)size);
            line->left += (size_t)size;
        }
        if (!line->left)
            break;
        size = send(line->fd, line->unsent, line->left, MSG_NOSIGNAL);
        if (size < 0 && errno != EAGAIN)
            return -1;
        if (size > 0) {
            memmove(line->unsent, line->unsent + size, line->left - (size_t)size);
            line->left -= (size_t)size;
        }
        if (line->left) {
            event.events = EPOLLIN | EPOLLOUT;
            break;
        }
    }
    if (event.events != line->waits) {
        line->waits = event.events;
        epoll_ctl(line->poll, EPOLL_CTL_MOD, line->fd, &event);
    }
    return 0;
}

static void end(struct line *line)
{
    close(line->fd);
    nghttp2_session_del(line->session);
    free(line->unsent);
    free(line);
}

static void serve(struct line *line, uint32_t events)
{
    static uint8_t bytes[ROOM];
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        ssize_t size = recv(line->fd, bytes, sizeof bytes, 0);
        if (size <= 0 || nghttp2_session_mem_recv(line->session, bytes, (size_t)size) < 0) {
            end(line);
            return;
        }
    }
    if (flush(line) < 0)
        end(line);
}

static void welcome(int poll, int fd, nghttp2_session_callbacks *callbacks)
{
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, STREAMS}, {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW}};
    struct line *line = calloc(1, sizeof *line);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = line};
    int one = 1;
    line->fd = fd;
    line->poll = poll;
    line->waits = EPOLLIN;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    nghttp2_session_server_new(&line->session, callbacks, line);
    nghttp2_submit_settings(line->session, NGHTTP2_FLAG_NONE, settings, 2);
    nghttp2_session_set_local_window_size(line->session, NGHTTP2_FLAG_NONE, 0, WINDOW);
    epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
}

int main(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), poll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN}, events[EVENTS];
    nghttp2_session_callbacks *callbacks;

    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 1024)) {
        perror("listen");
        return 1;
    }
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    event.data.ptr = &listener;
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    event.data.ptr = NULL;
    epoll_ctl(poll, EPOLL_CTL_ADD, STDIN_FILENO, &event);
    for (;;) {
        int count = epoll_wait(poll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            if (!events[i].data.ptr) {
                char rest[256];
                if (read(STDIN_FILENO, rest, sizeof rest) <= 0)
                    return 0;
            } else if (events[i].data.ptr == &listener) {
                int fd;
                while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
                    welcome(poll, fd, callbacks);
            } else {
                serve(events[i].data.ptr, events[i].events);
            }
        }
    }
}
