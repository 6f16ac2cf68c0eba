// The flood: connections that send without pause and never half-close, and beside them one ordinary client at a time.
// Build: cc -O2 -pthread -o flood flood.c    Run: flood PORT CONNECTIONS BYTES SECONDS PID...
//
// An ordinary client connects, sends 5 bytes, half-closes, reads to EOF and compares the echo. Each PID is a server's
// process, whose CPU time is measured with the flood's own. The result is one line of JSON, in milliseconds and bytes.
// After that nothing more is sent, but the connections stay open until EOF on stdin: the server can be stopped first.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>

#include "common.h"

// Between two ordinary clients. Without it, most of them would be served in the moments in which the server has little
// to do, and half a second in which it serves no client would be one latency among thousands.
enum { PAUSE_MS = 5 };

// Before anything is measured: until then the flood fills the socket buffers, and the server is warmed up.
enum { WARM_UP_MS = 500 };

enum { TIMEOUT_S = 60, MAX_EVENTS = 256 };

static const char GREETING[] = {'h', 'e', 'l', 'l', 'o'};

static struct sockaddr_in server = {.sin_family = AF_INET};
static size_t bytes;
static atomic_bool ended;
static atomic_size_t sent, dropped;

static int open_connection(void) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) die("socket");
  if (connect(fd, (struct sockaddr *)&server, sizeof server) < 0) die("connect");
  return fd;
}

static void add_to_flood(int epoll) {
  struct epoll_event event = {.events = EPOLLOUT, .data.fd = open_connection()};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event) < 0) die("epoll_ctl");
}

// Sends on every connection that takes bytes, in turn. A connection that the server drops, for instance at a limit, is
// replaced, so that the number of connections stays the same.
static void *flood(void *argument) {
  int epoll = *(int *)argument;
  char *message = calloc(1, bytes);
  if (!message) die("calloc");
  while (!ended) {
    struct epoll_event events[MAX_EVENTS];
    int ready = epoll_wait(epoll, events, MAX_EVENTS, 100);
    for (int i = 0; i < ready; i++) {
      int fd = events[i].data.fd;
      ssize_t n = send(fd, message, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n >= 0) {
        sent += n;
      } else if (errno != EAGAIN) {
        close(fd);
        add_to_flood(epoll);
        dropped++;
      }
    }
  }
  free(message);
  return NULL;
}

// One ordinary client. Returns its latency from connect to EOF, in milliseconds.
static double run_client(void) {
  double begin = milliseconds(CLOCK_MONOTONIC);
  char reply[sizeof GREETING + 1];
  size_t received = 0;
  int fd = open_connection();
  struct timeval timeout = {.tv_sec = TIMEOUT_S};
  if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) < 0) die("setsockopt");
  if (send(fd, GREETING, sizeof GREETING, MSG_NOSIGNAL) != sizeof GREETING) die("send");
  if (shutdown(fd, SHUT_WR) < 0) die("shutdown");
  for (ssize_t n; (n = recv(fd, reply + received, sizeof reply - received, 0)) != 0; received += n) {
    if (n < 0 && errno == EAGAIN) {
      fprintf(stderr, "a client beside the flood was not served within %d s\n", TIMEOUT_S);
      exit(1);
    }
    if (n < 0) die("recv");
  }
  if (received != sizeof GREETING || memcmp(reply, GREETING, received) != 0) {
    fprintf(stderr, "the echo of a client beside the flood is wrong, with %zu bytes\n", received);
    exit(1);
  }
  close(fd);
  return milliseconds(CLOCK_MONOTONIC) - begin;
}

// Runs one client after another for that many milliseconds. Returns how many.
static int run_clients(double duration, double *latencies) {
  int count = 0;
  for (double end = milliseconds(CLOCK_MONOTONIC) + duration; milliseconds(CLOCK_MONOTONIC) < end;) {
    latencies[count++] = run_client();
    usleep(1000 * PAUSE_MS);
  }
  return count;
}

int main(int argc, char **argv) {
  if (argc < 5) {
    fprintf(stderr, "usage: flood PORT CONNECTIONS BYTES SECONDS PID...\n");
    return 2;
  }
  int port = atoi(argv[1]), connections = atoi(argv[2]);
  bytes = atol(argv[3]);
  double duration = 1e3 * atof(argv[4]);
  server.sin_port = htons(port);
  server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  raise_descriptor_limit();
  double *latencies = calloc((duration > WARM_UP_MS ? duration : WARM_UP_MS) / PAUSE_MS + 1, sizeof *latencies);
  if (!latencies) die("calloc");

  int epoll = epoll_create1(EPOLL_CLOEXEC);
  for (int i = 0; i < connections; i++) {
    while (!may_connect(port)) usleep(1000);
    add_to_flood(epoll);
  }
  while (backlog_of(port).length > 0) usleep(1000);
  pthread_t thread;
  if (pthread_create(&thread, NULL, flood, &epoll) != 0) die("pthread_create");
  int warm_up = run_clients(WARM_UP_MS, latencies);

  double all = busy(), servers = cpu_of(argc - 5, argv + 5), own = milliseconds(CLOCK_PROCESS_CPUTIME_ID);
  double begin = milliseconds(CLOCK_MONOTONIC);
  size_t sent_before = sent;
  int count = run_clients(duration, latencies);
  double elapsed = milliseconds(CLOCK_MONOTONIC) - begin;
  size_t flooded = sent - sent_before;
  own = milliseconds(CLOCK_PROCESS_CPUTIME_ID) - own;
  servers = cpu_of(argc - 5, argv + 5) - servers;
  all = busy() - all;
  ended = true;
  pthread_join(thread, NULL);

  qsort(latencies, count, sizeof *latencies, by_size);
  printf("{\"elapsed\":%f,\"serverCpu\":%f,\"loadCpu\":%f,\"othersCpu\":%f,", elapsed, servers, own,
         all - servers - own);
  printf("\"p50\":%f,\"p99\":%f,\"worst\":%f,", percentile(latencies, count, 50), percentile(latencies, count, 99),
         latencies[count - 1]);
  printf("\"warmUp\":%d,\"clients\":%d,\"sent\":%zu,\"dropped\":%zu}\n", warm_up, count, flooded, dropped);
  fflush(stdout);
  while (getchar() != EOF) continue;
  return 0;
}
