// SPDX-License-Identifier: Apache-2.0
//
// The application of the dataplane benchmark: as cheap as can be, so that what stands between the services is seen.
//
//     app HOST:PORT BYTES [CALLEE …]      CALLEE: HOST:PORT, or several as HOST:PORT,HOST:PORT, in turn
//
// It answers every request, after one request to each callee, all at the same time, with a body of so many bytes; 502 if
// a callee did not answer 2xx. Connections are kept, each with a thread and with connections to the callees of its own.
// The context and the group of users are handed on, as an application does that propagates headers.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CALLEES 16
#define BUFFER (128 * 1024)

static const char *const handed_on[] = {"m4-ctx:", "x-user-group:"};
static char *callee[CALLEES][CALLEES];
static int callees, places[CALLEES];
static unsigned turn;
static size_t body;

struct stream {
    int fd;
    size_t have;  // bytes in the buffer
    char buffer[BUFFER];
};

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static struct sockaddr_in address(const char *text)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    const char *colon = strrchr(text, ':');
    char host[64] = "";
    if (colon && colon - text < (long)sizeof(host)) {
        memcpy(host, text, colon - text);
        to.sin_port = htons(atoi(colon + 1));
    }
    if (!colon || inet_pton(AF_INET, host, &to.sin_addr) != 1) {
        fprintf(stderr, "%s is no HOST:PORT\n", text);
        exit(2);
    }
    return to;
}

static int send_all(int fd, const char *data, size_t size)
{
    while (size) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent <= 0)
            return -1;
        data += sent;
        size -= sent;
    }
    return 0;
}

// The value of a field of the head, with its line's end at *end; NULL if there is none.
static char *field(char *head, const char *name, char **end)
{
    for (char *line = strstr(head, "\r\n"); line && line[2] != '\r'; line = *end) {
        line += 2;
        *end = strstr(line, "\r\n");
        if (!*end)
            return NULL;
        if (!strncasecmp(line, name, strlen(name)))
            return line + strlen(name);
    }
    return NULL;
}

// Reads a whole message and returns its size, head and body; 0 at the end or for what this does not understand.
static size_t read_message(struct stream *s)
{
    size_t size = 0;
    for (;;) {
        s->buffer[s->have] = 0;
        char *blank = size ? NULL : strstr(s->buffer, "\r\n\r\n");
        if (blank) {
            char *end, *length = field(s->buffer, "content-length:", &end);
            size = blank + 4 - s->buffer + (length ? strtoul(length, NULL, 10) : 0);
        }
        if (size && s->have >= size)
            return size;
        if (size >= BUFFER || s->have >= BUFFER - 1)
            return 0;
        ssize_t got = recv(s->fd, s->buffer + s->have, BUFFER - 1 - s->have, 0);
        if (got <= 0)
            return 0;
        s->have += got;
    }
}

static void drop_message(struct stream *s, size_t size)
{
    memmove(s->buffer, s->buffer + size, s->have - size);
    s->have -= size;
}

static int dial(const char *to)
{
    struct sockaddr_in at = address(to);
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof(at)))
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

// Sends one request to each callee and waits for all of the answers. Returns 0 if all are 2xx.
static int call_all(struct stream *to[], const char *target, int length, char *head)
{
    char request[4096];
    int failed = 0, size = snprintf(request, sizeof(request), "GET %.*s HTTP/1.1\r\nhost: callee\r\n", length, target);
    for (size_t i = 0; i < sizeof(handed_on) / sizeof(*handed_on); i++) {
        char *end, *value = field(head, handed_on[i], &end);
        if (value)
            size += snprintf(request + size, sizeof(request) - size, "%s%.*s\r\n", handed_on[i], (int)(end - value), value);
    }
    size += snprintf(request + size, sizeof(request) - size, "\r\n");
    for (int i = 0; i < callees; i++) {
        if (!to[i]) {
            to[i] = calloc(1, sizeof(**to));
            to[i]->fd = dial(callee[i][__sync_fetch_and_add(&turn, 1) % places[i]]);
        }
        failed |= to[i]->fd < 0 || send_all(to[i]->fd, request, size);
    }
    for (int i = 0; i < callees; i++) {
        size_t got = to[i]->fd < 0 ? 0 : read_message(to[i]);
        failed |= !got || strncmp(to[i]->buffer, "HTTP/1.1 2", 10);
        if (got)
            drop_message(to[i], got);
    }
    return failed;
}

static void *serve(void *given)
{
    struct stream *s = calloc(1, sizeof(*s)), *to[CALLEES] = {0};
    char *answer = malloc(body + 256);
    s->fd = (int)(long)given;
    for (size_t size; (size = read_message(s)) != 0; drop_message(s, size)) {
        char *target = strchr(s->buffer, ' ');
        char *end = target ? strchr(target + 1, ' ') : NULL;
        int failed = !end || call_all(to, target + 1, end - target - 1, s->buffer);
        int head = sprintf(answer, "HTTP/1.1 %s\r\ncontent-type: text/plain\r\ncontent-length: %zu\r\n\r\n",
                           failed ? "502 Bad Gateway" : "200 OK", body);
        memset(answer + head, 'b', body);
        if (send_all(s->fd, answer, head + body))
            break;
    }
    for (int i = 0; i < callees; i++) {
        if (to[i])
            close(to[i]->fd);
        free(to[i]);
    }
    close(s->fd);
    free(answer);
    free(s);
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc < 3 || argc - 3 > CALLEES) {
        fprintf(stderr, "usage: app HOST:PORT BYTES [CALLEE ...]\n");
        return 2;
    }
    body = strtoul(argv[2], NULL, 10);
    callees = argc - 3;
    for (int i = 0; i < callees; i++)
        for (char *one = strtok(argv[3 + i], ","); one && places[i] < CALLEES; one = strtok(NULL, ","))
            callee[i][places[i]++] = one;
    struct sockaddr_in at = address(argv[1]);
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(listener, (struct sockaddr *)&at, sizeof(at)) || listen(listener, 1024))
        fail(argv[1]);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) {
            if (errno == ECONNABORTED || errno == EINTR)
                continue;
            fail("accept");
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        pthread_t thread;
        if (pthread_create(&thread, NULL, serve, (void *)(long)fd))
            fail("pthread_create");
        pthread_detach(thread);
    }
}
