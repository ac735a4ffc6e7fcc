/* Closed-loop load generator: N connections, each sends a batch, waits for all its replies, sends the next.
 *
 * One thread, one epoll, only ever to 127.0.0.1. The same program drives every peer, so that a ratio between two peers
 * compares servers and not client libraries. Two protocols:
 *
 *   resp   a Redis command given as words; the word __key__ becomes "key:" and 12 digits. With --suffix one more command
 *          (WAIT 1 0) ends every batch, and the batch's operations count as done only when the suffix has been answered
 *          with an integer of at least 1.
 *   grpc   etcd's own client protocol: HTTP/2 frames written out by hand, one stream per operation, --pipeline streams
 *          at once on each connection. Header fields go through HPACK's dynamic table as a real client's do, so the
 *          second and later requests carry six bytes of headers.
 *
 * An operation that was answered with an error is counted as an error and never as an operation. Latency is from the
 * send of the batch to the arrival of the operation's reply, kept for each operation (so percentiles are exact).
 * Operations of the warm-up are left out of everything but total_ops (which CPU seconds are divided by).
 * With --parse the program reads server bytes from standard input, in chunks of --chunk bytes, and prints what it
 * understood: this is how the tests reach the parsers.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { KEY_DIGITS = 12, WORDS_MAX = 16, PIPELINE_MAX = 1024, FRAME_HEADER = 9 };
enum { FRAME_DATA = 0, FRAME_HEADERS = 1, FRAME_RST = 3, FRAME_SETTINGS = 4, FRAME_PING = 6, FRAME_GOAWAY = 7 };

typedef struct { char *bytes; size_t length, capacity; } buffer;

typedef struct {
    buffer bytes;                       /* one batch, ready to send but for keys and stream numbers */
    size_t key_at[PIPELINE_MAX];        /* where each operation's digits are */
    size_t stream_at[PIPELINE_MAX][2];  /* grpc: where each operation's stream number is (HEADERS, DATA) */
} batch_template;

typedef struct {
    int fd;
    buffer in, out;
    size_t in_at, out_at;
    int writable_wanted, greeted;
    int operations, replies;            /* of the batch under way: operations sent, replies seen */
    int failed;                         /* operations of the batch answered with an error */
    uint64_t sent_ns;
    long elements_missing;              /* resp: of the reply being read; 0 between replies */
    char reply_type;
    long long reply_integer;
    int reply_nil;
    uint32_t stream_first, stream_next; /* grpc */
    uint8_t has_data[PIPELINE_MAX];
} connection;

static struct {
    int grpc, port, clients, pipeline, sequential, suffix_words, request_words, chunk;
    const char *parse, *method, *value, *request[WORDS_MAX], *suffix[WORDS_MAX];
    long long requests;                 /* 0: bounded by time alone */
    double seconds, warmup_seconds;
    uint64_t keyspace, seed;
} options = {.clients = 50, .pipeline = 1, .seconds = 2, .keyspace = 100000, .value = "xxx", .chunk = 65536, .seed = 1};

static struct {
    long long issued, total_ops, ops, errors, nils;
    char first_error[200];
    uint32_t *latencies;                /* of counted operations, in units of 100 ns */
    size_t capacity;
    uint64_t start_ns, warm_ns, end_ns, last_ns, now_ns;
    uint64_t next_key, random_state;
} run;

static batch_template first_batch, later_batch;

static void die(const char *what) {
    fprintf(stderr, "loadgen: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(1);
}

static uint64_t clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void append(buffer *b, const void *bytes, size_t n) {
    if (b->length + n > b->capacity) {
        b->capacity = (b->length + n) * 2;
        if (!(b->bytes = realloc(b->bytes, b->capacity))) die("out of memory");
    }
    memcpy(b->bytes + b->length, bytes, n);
    b->length += n;
}

/* ---- what is sent ---- */

static void append_resp(buffer *b, const char **words, int count, size_t *key_at) {
    char text[32];
    append(b, text, (size_t)sprintf(text, "*%d\r\n", count));
    for (int i = 0; i < count; i++) {
        int is_key = !strcmp(words[i], "__key__");
        const char *word = is_key ? "key:000000000000" : words[i];
        append(b, text, (size_t)sprintf(text, "$%zu\r\n", strlen(word)));
        if (is_key && key_at) *key_at = b->length + 4;
        append(b, word, strlen(word));
        append(b, "\r\n", 2);
    }
}

static void append_frame(buffer *b, int type, int flags, const char *payload, size_t n) {
    uint8_t head[FRAME_HEADER] = {(uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n, (uint8_t)type, (uint8_t)flags};
    append(b, head, sizeof head);
    append(b, payload, n);
}

/* HPACK: each literal enters the dynamic table (0x40), newest first, hence 65, 64, 63, 62 from the second request on. */
static void append_headers(buffer *b, int first) {
    buffer block = {0};
    char path[100], authority[32], byte;
    append(&block, "\x83\x86", 2); /* :method POST, :scheme http */
    if (first) {
        snprintf(path, sizeof path, "/etcdserverpb.KV/%s", options.method);
        snprintf(authority, sizeof authority, "127.0.0.1:%d", options.port);
        const char *fields[] = {"\x44", path, "\x41", authority, "\x5f", "application/grpc"};
        for (int i = 0; i < 6; i += 2) {
            append(&block, fields[i], 1);
            byte = (char)strlen(fields[i + 1]);
            append(&block, &byte, 1);
            append(&block, fields[i + 1], strlen(fields[i + 1]));
        }
        append(&block, "\x40\x02te\x08trailers", 13);
    } else {
        append(&block, "\xc1\xc0\xbf\xbe", 4);
    }
    append_frame(b, FRAME_HEADERS, 0x4 /* END_HEADERS */, block.bytes, block.length);
    free(block.bytes);
}

static void append_grpc(batch_template *t, int index, int first) {
    buffer *b = &t->bytes, message = {0};
    uint8_t prefix[5] = {0}, tag[2] = {0x0a, 4 + KEY_DIGITS};
    t->stream_at[index][0] = b->length + 5;
    append_headers(b, first);
    append(&message, prefix, sizeof prefix);
    append(&message, tag, 2);
    append(&message, "key:000000000000", 4 + KEY_DIGITS);
    if (!strcmp(options.method, "Put")) {
        tag[0] = 0x12, tag[1] = (uint8_t)strlen(options.value);
        append(&message, tag, 2);
        append(&message, options.value, strlen(options.value));
    }
    message.bytes[4] = (char)(message.length - sizeof prefix);
    t->stream_at[index][1] = b->length + 5;
    t->key_at[index] = b->length + FRAME_HEADER + sizeof prefix + 2 + 4;
    append_frame(b, FRAME_DATA, 0x1 /* END_STREAM */, message.bytes, message.length);
    free(message.bytes);
}

static void build_template(batch_template *t, int first) {
    for (int i = 0; i < options.pipeline; i++) {
        if (options.grpc) append_grpc(t, i, first && i == 0);
        else append_resp(&t->bytes, options.request, options.request_words, &t->key_at[i]);
    }
    if (options.suffix_words) append_resp(&t->bytes, options.suffix, options.suffix_words, NULL);
}

static uint64_t next_key(void) {
    if (options.sequential) return run.next_key++ % options.keyspace;
    run.random_state ^= run.random_state << 13;
    run.random_state ^= run.random_state >> 7;
    run.random_state ^= run.random_state << 17;
    return run.random_state % options.keyspace;
}

static void put_key(char *digits) {
    uint64_t key = next_key();
    for (int i = KEY_DIGITS - 1; i >= 0; i--, key /= 10) digits[i] = (char)('0' + key % 10);
}

static void put_stream(char *at, uint32_t stream) {
    uint32_t wire = htonl(stream);
    memcpy(at, &wire, 4);
}

static void flush_out(connection *c, int epoll) {
    while (c->out_at < c->out.length) {
        ssize_t n = send(c->fd, c->out.bytes + c->out_at, c->out.length - c->out_at, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) break;
        if (n < 0) die("send");
        c->out_at += (size_t)n;
    }
    int wanted = c->out_at < c->out.length;
    if (!wanted) c->out.length = c->out_at = 0;
    if (wanted != c->writable_wanted) {
        struct epoll_event event = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.ptr = c};
        epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
        c->writable_wanted = wanted;
    }
}

static void queue_batch(connection *c) {
    batch_template *t = c->greeted ? &later_batch : &first_batch;
    c->operations = c->replies = c->failed = 0;
    if (options.requests && run.issued >= options.requests) return;
    if (options.grpc && !c->greeted) {
        static const uint8_t settings[] = {0, 2, 0, 0, 0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff}; /* no push; widest windows */
        append(&c->out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
        append_frame(&c->out, FRAME_SETTINGS, 0, (const char *)settings, sizeof settings);
        append_frame(&c->out, 8 /* WINDOW_UPDATE */, 0, "\x7f\xfe\xff\xff", 4);
    }
    c->greeted = 1;
    size_t base = c->out.length;
    append(&c->out, t->bytes.bytes, t->bytes.length);
    c->stream_first = c->stream_next;
    for (int i = 0; i < options.pipeline; i++) {
        put_key(c->out.bytes + base + t->key_at[i]);
        if (!options.grpc) continue;
        for (int k = 0; k < 2; k++) put_stream(c->out.bytes + base + t->stream_at[i][k], c->stream_next);
        c->stream_next += 2;
        c->has_data[i] = 0;
    }
    c->operations = options.pipeline;
    run.issued += options.pipeline;
    c->sent_ns = clock_ns();
}

/* ---- what is received ---- */

static void note_error(const char *text, size_t n) {
    run.errors++;
    if (run.first_error[0]) return;
    for (size_t i = 0; i < n && i < sizeof run.first_error - 1; i++)
        run.first_error[i] = text[i] < ' ' || text[i] > '~' || text[i] == '"' || text[i] == '\\' ? '?' : text[i];
}

static void count_operation(connection *c, long long many) {
    uint64_t spent = (run.now_ns - c->sent_ns) / 100;
    run.total_ops += many;
    if (run.now_ns < run.warm_ns || run.now_ns > run.end_ns) return;
    run.last_ns = run.now_ns;
    for (; many > 0; many--) {
        if ((size_t)run.ops == run.capacity) {
            run.capacity = run.capacity ? run.capacity * 2 : 1 << 20;
            if (!(run.latencies = realloc(run.latencies, run.capacity * sizeof *run.latencies))) die("out of memory");
        }
        run.latencies[run.ops++] = spent > UINT32_MAX ? UINT32_MAX : (uint32_t)spent;
    }
}

static void on_reply(connection *c, const char *text, size_t n) {
    int is_suffix = options.suffix_words && c->replies == options.pipeline;
    int bad = c->reply_type == '-' || (is_suffix && (c->reply_type != ':' || c->reply_integer < 1));
    c->replies++;
    if (bad) note_error(text, n);
    if (c->reply_nil) run.nils++;
    if (is_suffix && !bad) count_operation(c, options.pipeline - c->failed);
    else if (bad) c->failed++;
    else if (!options.suffix_words) count_operation(c, 1);
}

/* One element (a line, a bulk string or an aggregate's head) from bytes; how long it was, 0 when it is not all here. */
static size_t parse_resp_element(connection *c, const char *bytes, size_t n) {
    const char *newline = memchr(bytes, '\n', n);
    if (!newline) return 0;
    size_t line = (size_t)(newline - bytes) + 1;
    long long number = strchr("$*:%~>", bytes[0]) ? strtoll(bytes + 1, NULL, 10) : 0;
    int is_aggregate = strchr("*%~>", bytes[0]) != NULL;
    if (bytes[0] == '$' && number >= 0) {
        if (n < line + (size_t)number + 2) return 0;
        line += (size_t)number + 2;
    }
    if (c->elements_missing == 0) {
        c->elements_missing = 1;
        c->reply_type = bytes[0];
        c->reply_integer = number;
        c->reply_nil = bytes[0] == '_' || (number < 0 && (bytes[0] == '$' || bytes[0] == '*'));
    }
    c->elements_missing--;
    if (is_aggregate && number > 0) c->elements_missing += (long)(bytes[0] == '%' ? 2 * number : number);
    return line;
}

static void consume_resp(connection *c) {
    size_t taken;
    while (c->in_at < c->in.length) {
        const char *at = c->in.bytes + c->in_at;
        if (!strchr("+-:$*_%~>,#(", *at)) die("not a RESP reply");
        if (!(taken = parse_resp_element(c, at, c->in.length - c->in_at))) break;
        c->in_at += taken;
        if (c->elements_missing == 0) on_reply(c, at, taken);
    }
}

static void on_stream_end(connection *c, uint32_t stream, int reset) {
    uint32_t index = (stream - c->stream_first) / 2;
    c->replies++;
    if (index < PIPELINE_MAX && c->has_data[index] && !reset) count_operation(c, 1);
    else note_error("stream ended without a message", 30);
}

static void on_frame(connection *c, int type, int flags, uint32_t stream, const char *payload, size_t n) {
    uint32_t index = (stream - c->stream_first) / 2;
    if (type == FRAME_GOAWAY) die("the server closed the session (GOAWAY)");
    if (type == FRAME_SETTINGS && !(flags & 1)) append_frame(&c->out, FRAME_SETTINGS, 1, "", 0);
    if (type == FRAME_PING && !(flags & 1)) append_frame(&c->out, FRAME_PING, 1, payload, n);
    if (type == FRAME_DATA && n && index < PIPELINE_MAX) {
        c->has_data[index] = 1;
        if (options.method && !strcmp(options.method, "Range") && !memmem(payload, n, "key:", 4)) run.nils++;
    }
    if (type == FRAME_RST) on_stream_end(c, stream, 1);
    else if ((type == FRAME_DATA || type == FRAME_HEADERS) && flags & 1) on_stream_end(c, stream, 0);
}

static void consume_grpc(connection *c) {
    while (c->in.length - c->in_at >= FRAME_HEADER) {
        const uint8_t *head = (const uint8_t *)c->in.bytes + c->in_at;
        size_t n = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
        uint32_t stream = ((uint32_t)head[5] << 24 | (uint32_t)head[6] << 16 | (uint32_t)head[7] << 8 | head[8]) & INT32_MAX;
        if (c->in.length - c->in_at < FRAME_HEADER + n) break;
        on_frame(c, head[3], head[4], stream, (const char *)head + FRAME_HEADER, n);
        c->in_at += FRAME_HEADER + n;
    }
}

static void consume(connection *c) {
    if (options.grpc) consume_grpc(c);
    else consume_resp(c);
    memmove(c->in.bytes, c->in.bytes + c->in_at, c->in.length - c->in_at);
    c->in.length -= c->in_at;
    c->in_at = 0;
}

static void on_readable(connection *c, int epoll) {
    static char bytes[1 << 16];
    ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) die("the server closed a connection");
    run.now_ns = clock_ns();
    append(&c->in, bytes, (size_t)n);
    consume(c);
    if (c->operations && c->replies == c->operations + (options.suffix_words > 0)) queue_batch(c);
    flush_out(c, epoll);
}

/* ---- one run ---- */

static void connect_all(connection *all, int epoll) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    int on = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < options.clients; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};
        all[i].fd = socket(AF_INET, SOCK_STREAM, 0);
        all[i].stream_next = 1;
        if (all[i].fd < 0 || connect(all[i].fd, (struct sockaddr *)&address, sizeof address)) die("connect");
        setsockopt(all[i].fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        fcntl(all[i].fd, F_SETFL, O_NONBLOCK);
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].fd, &event)) die("epoll_ctl");
    }
}

static int finished(void) {
    run.now_ns = clock_ns();
    if (run.now_ns >= run.end_ns) return 1;
    return options.requests && run.issued >= options.requests && run.total_ops + run.errors >= run.issued;
}

static void drive(connection *all, int epoll) {
    struct epoll_event events[256];
    run.start_ns = clock_ns();
    run.warm_ns = run.start_ns + (uint64_t)(options.warmup_seconds * 1e9);
    run.end_ns = run.warm_ns + (uint64_t)(options.seconds * 1e9);
    run.last_ns = run.warm_ns;
    for (int i = 0; i < options.clients; i++) {
        queue_batch(&all[i]);
        flush_out(&all[i], epoll);
    }
    while (!finished()) {
        int ready = epoll_wait(epoll, events, 256, (int)((run.end_ns - run.now_ns) / 1000000) + 1);
        for (int i = 0; i < ready; i++) {
            if (events[i].events & EPOLLOUT) flush_out(events[i].data.ptr, epoll);
            if (events[i].events & ~(uint32_t)EPOLLOUT) on_readable(events[i].data.ptr, epoll);
        }
    }
}

static int compare(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static double percentile_us(double share) {
    if (!run.ops) return 0;
    size_t at = (size_t)(share * (double)run.ops);
    return run.latencies[at < (size_t)run.ops ? at : (size_t)run.ops - 1] / 10.0;
}

static void report(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used); /* before the sort, which is not part of generating load */
    double cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                 (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    uint64_t until_ns = options.requests ? run.last_ns : run.end_ns;
    double seconds = until_ns > run.warm_ns ? (double)(until_ns - run.warm_ns) / 1e9 : 1e-9;
    if (run.ops) qsort(run.latencies, (size_t)run.ops, sizeof *run.latencies, compare);
    printf("{\"ops\": %lld, \"total_ops\": %lld, \"errors\": %lld, \"nils\": %lld, \"first_error\": \"%s\", "
           "\"seconds\": %.6f, \"ops_per_second\": %.3f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, "
           "\"max_us\": %.1f, \"cpu_seconds\": %.3f, \"wall_seconds\": %.3f}\n",
           run.ops, run.total_ops, run.errors, run.nils, run.first_error, seconds, (double)run.ops / seconds,
           percentile_us(0.5), percentile_us(0.99), percentile_us(0.999), percentile_us(1.0), cpu,
           (double)(run.now_ns - run.start_ns) / 1e9);
}

static void parse_stdin(void) {
    connection c = {.stream_first = 1};
    char *bytes = malloc((size_t)options.chunk);
    ssize_t n;
    if (!bytes) die("out of memory");
    run.end_ns = UINT64_MAX;
    while ((n = read(0, bytes, (size_t)options.chunk)) > 0) {
        append(&c.in, bytes, (size_t)n);
        consume(&c);
    }
    printf("{\"replies\": %d, \"operations\": %lld, \"errors\": %lld, \"nils\": %lld, \"first_error\": \"%s\", "
           "\"bytes_left\": %zu, \"bytes_to_send\": %zu}\n",
           c.replies, run.total_ops, run.errors, run.nils, run.first_error, c.in.length, c.out.length);
    free(bytes);
}

static int split_words(char *text, const char **words) {
    int count = 0;
    for (char *word = strtok(text, " "); word && count < WORDS_MAX; word = strtok(NULL, " ")) words[count++] = word;
    return count;
}

static void set_option(const char *name, char *value) {
    if (!strcmp(name, "--port")) options.port = atoi(value);
    else if (!strcmp(name, "--clients")) options.clients = atoi(value);
    else if (!strcmp(name, "--pipeline")) options.pipeline = atoi(value);
    else if (!strcmp(name, "--requests")) options.requests = atoll(value);
    else if (!strcmp(name, "--seconds")) options.seconds = atof(value);
    else if (!strcmp(name, "--warmup")) options.warmup_seconds = atof(value);
    else if (!strcmp(name, "--keyspace")) options.keyspace = strtoull(value, NULL, 10);
    else if (!strcmp(name, "--sequential")) options.sequential = atoi(value);
    else if (!strcmp(name, "--seed")) options.seed = strtoull(value, NULL, 10);
    else if (!strcmp(name, "--request")) options.request_words = split_words(value, options.request);
    else if (!strcmp(name, "--suffix")) options.suffix_words = split_words(value, options.suffix);
    else if (!strcmp(name, "--grpc")) options.grpc = 1, options.method = value;
    else if (!strcmp(name, "--value")) options.value = value;
    else if (!strcmp(name, "--parse")) options.parse = value, options.grpc = !strcmp(value, "grpc");
    else if (!strcmp(name, "--chunk")) options.chunk = atoi(value);
    else die("unknown option");
}

int main(int count, char **arguments) {
    for (int i = 1; i + 1 < count; i += 2) set_option(arguments[i], arguments[i + 1]);
    if (count % 2 == 0) die("each option takes one value");
    if (options.parse) {
        if (options.chunk < 1) die("--chunk must be at least 1");
        parse_stdin();
        return 0;
    }
    if (options.port < 1 || options.clients < 1 || options.pipeline < 1 || options.pipeline > PIPELINE_MAX ||
        !options.keyspace || options.seconds <= 0 || !(options.request_words || options.grpc) || strlen(options.value) > 100)
        die("a port, a request and sane numbers are needed");
    connection *all = calloc((size_t)options.clients, sizeof *all);
    int epoll = epoll_create1(0);
    if (!all || epoll < 0) die("epoll");
    run.random_state = options.seed * 0x9e3779b97f4a7c15u | 1;
    build_template(&first_batch, 1);
    build_template(&later_batch, 0);
    connect_all(all, epoll);
    drive(all, epoll);
    report();
    return 0;
}
