/* Asks a NATS subject over one socket and keeps a number of requests outstanding.
 *
 *   cc -O2 -o load load.c
 *   load PORT SUBJECT SECONDS WINDOW PAYLOAD_BYTES HEADERS [PAYLOAD_TEXT]
 *
 * HEADERS is 0 for none, 1 for two as they are usual, or one line to be sent.
 * Prints one line of JSON: answers within the time, seconds, latencies in microseconds, error answers, all answers. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SLOTS (1u << 20)   /* send times, by request number modulo this */
#define SAMPLES (1u << 22) /* latencies kept */
#define CHUNK (256u << 10)

static const char USUAL[] = "NATS/1.0\r\nX-Trace-Id: 4bf92f3577b34da6a3ce929d0e0e4736\r\nX-Caller: bench\r\n\r\n";

typedef struct { char *data; size_t start, end, room; } Buffer;

static Buffer out, in;
static int sock;
static const char *subject;
static char headers[512];
static size_t head;
static char inbox[64], *payload;
static size_t payload_size;
static uint64_t sent, answered, errors;
static double sent_at[SLOTS];
static float *latencies;
static uint32_t samples;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static void fail(const char *what) { perror(what); exit(2); }

static void reserve(Buffer *b, size_t size) {
  if (b->room - b->end >= size) return;
  memmove(b->data, b->data + b->start, b->end - b->start);
  b->end -= b->start;
  b->start = 0;
  if (b->room - b->end < size) {
    b->room = 2 * b->room + size;
    b->data = realloc(b->data, b->room);
  }
}

static void ask(double t) {
  reserve(&out, payload_size + head + 512);
  char *p = out.data + out.end;
  if (head)
    p += sprintf(p, "HPUB %s %s.%lu %zu %zu\r\n%s", subject, inbox, (unsigned long)sent, head, head + payload_size, headers);
  else
    p += sprintf(p, "PUB %s %s.%lu %zu\r\n", subject, inbox, (unsigned long)sent, payload_size);
  memcpy(p, payload, payload_size);
  p += payload_size;
  *p++ = '\r';
  *p++ = '\n';
  out.end = p - out.data;
  sent_at[sent++ % SLOTS] = t;
}

static int flush(void) { /* 1 when everything has gone */
  while (out.start < out.end) {
    ssize_t n = send(sock, out.data + out.start, out.end - out.start, MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) return 0;
    if (n < 0) fail("send");
    out.start += n;
  }
  out.start = out.end = 0;
  return 1;
}

static void answer(char *line, char *line_end, size_t size, double t) {
  char *number = strstr(line, inbox);
  if (!number || number > line_end) return;
  if (*line == 'H' && (memmem(line_end, size, "Nats-Service-Error", 18) || !memcmp(line_end + 1, "NATS/1.0 503", 12))) errors++;
  uint64_t i = strtoull(number + strlen(inbox) + 1, NULL, 10);
  if (samples < SAMPLES) latencies[samples++] = (t - sent_at[i % SLOTS]) * 1e6;
  answered++;
}

static void take(void) {
  reserve(&in, CHUNK + 1);
  ssize_t n = recv(sock, in.data + in.end, in.room - in.end - 1, 0);
  if (n == 0) { fprintf(stderr, "the server closed the connection\n"); exit(2); }
  if (n < 0) { if (errno == EAGAIN) return; fail("recv"); }
  in.end += n;
  in.data[in.end] = 0;
  double t = now();
  for (;;) {
    char *line = in.data + in.start, *line_end = memchr(line, '\n', in.end - in.start);
    if (!line_end) return;
    size_t whole = line_end + 1 - line;
    if (*line == 'M' || *line == 'H') {
      char *size_word = line_end - 1;
      while (size_word[-1] != ' ') size_word--;
      size_t size = strtoul(size_word, NULL, 10);
      whole += size + 2;
      if (in.end - in.start < whole) return;
      answer(line, line_end, size, t);
    } else if (!strncmp(line, "PING", 4)) {
      reserve(&out, 6);
      memcpy(out.data + out.end, "PONG\r\n", 6);
      out.end += 6;
    } else if (*line == '-') {
      fwrite(line, 1, whole, stderr);
      exit(2);
    }
    in.start += whole;
  }
}

static void open_connection(int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int one = 1;
  char hello[256];
  sock = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(sock, (void *)&address, sizeof address)) fail("connect");
  setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  snprintf(inbox, sizeof inbox, "_INBOX.b%ldx%ld", (long)getpid(), (long)(now() * 1e6));
  int n = snprintf(hello, sizeof hello, "CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\nSUB %s.* 1\r\nPING\r\n", inbox);
  if (send(sock, hello, n, 0) != n) fail("send");
  do {
    reserve(&in, CHUNK + 1);
    ssize_t got = recv(sock, in.data + in.end, CHUNK, 0);
    if (got <= 0) fail("handshake");
    in.end += got;
  } while (!memmem(in.data, in.end, "PONG\r\n", 6));
  in.start = in.end = 0;
  fcntl(sock, F_SETFL, O_NONBLOCK);
}

static int ascending(const void *a, const void *b) { return (*(float *)a > *(float *)b) - (*(float *)a < *(float *)b); }
static float quantile(double q) { return samples ? latencies[(uint32_t)((samples - 1) * q)] : 0; }

int main(int argc, char **argv) {
  if (argc < 7) { fprintf(stderr, "usage: load PORT SUBJECT SECONDS WINDOW PAYLOAD_BYTES HEADERS [PAYLOAD_TEXT]\n"); return 1; }
  subject = argv[2];
  double seconds = atof(argv[3]);
  int window = atoi(argv[4]);
  payload_size = argc > 7 ? strlen(argv[7]) : strtoul(argv[5], NULL, 10);
  payload = malloc(payload_size + 1);
  memset(payload, 'x', payload_size);
  if (argc > 7) memcpy(payload, argv[7], payload_size);
  if (!strcmp(argv[6], "1")) strcpy(headers, USUAL);
  else if (strcmp(argv[6], "0")) snprintf(headers, sizeof headers, "NATS/1.0\r\n%s\r\n\r\n", argv[6]);
  head = strlen(headers);
  latencies = malloc(SAMPLES * sizeof *latencies);
  open_connection(atoi(argv[1]));

  double began = now(), end = began + seconds, t = began, ended = 0;
  uint64_t in_time = 0;
  for (int i = 0; i < window; i++) ask(began);
  while (answered < sent) {
    struct pollfd p = {sock, POLLIN | (flush() ? 0 : POLLOUT), 0};
    poll(&p, 1, 500);
    uint64_t before = answered;
    if (p.revents & POLLIN) take();
    t = now();
    if (t < end) for (uint64_t i = before; i < answered; i++) ask(t);
    else if (!ended) { ended = t; in_time = answered; }
    if (t > end + 3) break;
  }
  if (!ended) { ended = t; in_time = answered; }
  qsort(latencies, samples, sizeof *latencies, ascending);
  printf("{\"answers\": %lu, \"seconds\": %.4f, \"p50_us\": %.1f, \"p90_us\": %.1f, \"p99_us\": %.1f, \"errors\": %lu, \"all_answers\": %lu}\n",
         (unsigned long)in_time, ended - began, quantile(.5), quantile(.9), quantile(.99), (unsigned long)errors, (unsigned long)answered);
  return 0;
}
