// The load generator: clients that connect, send a message, half-close, read to EOF and compare every byte.
// One thread and a closed loop: as soon as a client has ended, the next one connects.
// Build: cc -O2 -o load load.c    Run: load PORT BYTES AT_A_TIME CLIENTS WARM_UP IDLE SEND_AT_MOST PID...
//
// Each PID is a server's process, whose CPU time is measured with the load's own. After the warm-up, and again once the
// idle clients are open, it prints a line and waits for one on stdin: the moment to measure the servers' memory. Its last
// line is the result in JSON, in milliseconds.
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/random.h>

#include "common.h"

// So many clients in a row send different parts of the random bytes, so that an echo to the wrong client is noticed.
enum { SHIFTS = 251 };

struct client {
  int fd;
  bool watched;
  const char *message;
  size_t sent, received;
  double begin;
};

static int port, epoll;
static size_t bytes, send_at_most;
static char *pool;

static void wrong(const char *what, size_t at) {
  fprintf(stderr, "%s after %zu of %zu bytes\n", what, at, bytes);
  exit(1);
}

static void watch(struct client *c, unsigned events) {
  struct epoll_event event = {.events = events, .data.ptr = c};
  if (epoll_ctl(epoll, c->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &event) < 0) die("epoll_ctl");
  c->watched = true;
}

// 65,536 clients in a row have different source addresses: closed connections keep their port for a minute, and the search
// for a free one would slow down later clients.
static void connect_client(struct client *c) {
  static unsigned connected;
  int on = 1;
  struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f010101 + connected++ % 0x10000)};
  struct sockaddr_in server = {
      .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (c->fd < 0) die("socket");
  setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  if (send_at_most < bytes) setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (bind(c->fd, (struct sockaddr *)&source, sizeof source) < 0) die("bind");
  if (connect(c->fd, (struct sockaddr *)&server, sizeof server) < 0 && errno != EINPROGRESS) die("connect");
  c->watched = false;
}

static void send_rest(struct client *c) {
  while (c->sent < bytes) {
    size_t rest = bytes - c->sent;
    ssize_t n = send(c->fd, c->message + c->sent, rest < send_at_most ? rest : send_at_most, MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) return watch(c, EPOLLOUT); // or the handshake is not complete yet
    if (n < 0) die("send");
    c->sent += n;
  }
  if (shutdown(c->fd, SHUT_WR) < 0) die("shutdown");
  watch(c, EPOLLIN | EPOLLRDHUP);
}

// Returns whether the client has ended.
static bool receive(struct client *c, bool half_closed) {
  static char chunk[1 << 18];
  for (;;) {
    size_t wanted = bytes - c->received + 1;
    if (wanted > sizeof chunk) wanted = sizeof chunk;
    ssize_t n = recv(c->fd, chunk, wanted, 0);
    if (n < 0 && errno == EAGAIN) return false;
    if (n < 0) die("recv");
    if (c->received + n > bytes) wrong("the echo is longer than the message", bytes);
    if (memcmp(chunk, c->message + c->received, n)) wrong("a byte of the echo is wrong", c->received);
    c->received += n;
    if (n == 0 || (half_closed && (size_t)n < wanted)) break;
    if ((size_t)n < wanted) return false;
  }
  if (c->received < bytes) wrong("the echo ended", c->received);
  close(c->fd);
  return true;
}

// Runs `count` clients, `at_a_time` of them at a time, and records the latency of each.
static void run(struct client *clients, int at_a_time, int count, double *latencies) {
  static unsigned number;
  int idle = at_a_time < count ? at_a_time : count, left = count, ended = 0; // clients[0..idle) are to connect
  struct client *waiting[idle];
  for (int i = 0; i < idle; i++) waiting[i] = &clients[i];
  while (ended < count) {
    for (; idle > 0 && left > 0 && may_connect(port); left--) {
      struct client *c = waiting[--idle];
      *c = (struct client){.message = pool + number++ % SHIFTS, .begin = milliseconds(CLOCK_MONOTONIC)};
      connect_client(c);
      send_rest(c);
    }
    struct epoll_event events[256];
    int ready = epoll_wait(epoll, events, 256, idle > 0 && left > 0 ? 1 : -1);
    for (int i = 0; i < ready; i++) {
      struct client *c = events[i].data.ptr;
      if (c->sent < bytes) send_rest(c);
      else if (receive(c, events[i].events & EPOLLRDHUP)) {
        latencies[ended++] = milliseconds(CLOCK_MONOTONIC) - c->begin;
        waiting[idle++] = c;
      }
    }
  }
}

static void pause_at(const char *reached) {
  puts(reached);
  fflush(stdout);
  if (getchar() == EOF) exit(1); // the runner has exited
}

int main(int argc, char **argv) {
  if (argc < 8) {
    fprintf(stderr, "usage: load PORT BYTES AT_A_TIME CLIENTS WARM_UP IDLE SEND_AT_MOST PID...\n");
    return 2;
  }
  port = atoi(argv[1]);
  bytes = atol(argv[2]);
  int at_a_time = atoi(argv[3]), count = atoi(argv[4]), warm_up = atoi(argv[5]), idle = atoi(argv[6]);
  send_at_most = atol(argv[7]);
  raise_descriptor_limit();

  pool = malloc(bytes + SHIFTS);
  struct client *clients = calloc(at_a_time, sizeof *clients);
  double *latencies = calloc(count > warm_up ? count : warm_up, sizeof *latencies);
  if (!pool || !clients || !latencies) die("malloc");
  for (size_t i = 0; i < bytes + SHIFTS; i += 256)
    if (getrandom(pool + i, bytes + SHIFTS - i < 256 ? bytes + SHIFTS - i : 256, 0) < 0) die("getrandom");
  epoll = epoll_create1(0);

  run(clients, at_a_time, warm_up, latencies);
  pause_at("warm");
  for (int i = 0; i < idle; i++) {
    while (!may_connect(port)) usleep(1000);
    connect_client(&(struct client){0});
  }
  if (idle) pause_at("held");

  double all = busy(), servers = cpu_of(argc - 8, argv + 8), own = milliseconds(CLOCK_PROCESS_CPUTIME_ID);
  double begin = milliseconds(CLOCK_MONOTONIC);
  run(clients, at_a_time, count, latencies);
  double elapsed = milliseconds(CLOCK_MONOTONIC) - begin;
  own = milliseconds(CLOCK_PROCESS_CPUTIME_ID) - own;
  usleep(20000); // for what a server does after it has closed
  servers = cpu_of(argc - 8, argv + 8) - servers;
  all = busy() - all;

  qsort(latencies, count, sizeof *latencies, by_size);
  printf("{\"elapsed\":%f,\"serverCpu\":%f,\"loadCpu\":%f,\"othersCpu\":%f,\"p50\":%f,\"p99\":%f}\n", elapsed, servers,
         own, all - servers - own, percentile(latencies, count, 50), percentile(latencies, count, 99));
  return 0;
}
