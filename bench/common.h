// What both load generators need: clocks, CPU time, the server's backlog, percentiles.
#include <glob.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what) {
  perror(what);
  exit(1);
}

static double milliseconds(clockid_t clock) {
  struct timespec t;
  if (clock_gettime(clock, &t) < 0) die("clock_gettime");
  return 1e3 * t.tv_sec + t.tv_nsec / 1e6;
}

static void raise_descriptor_limit(void) {
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

struct backlog {
  int length, limit;
};

static struct backlog backlog_of(int port) {
  static int diag = -1;
  if (diag < 0) diag = socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
  struct {
    struct nlmsghdr header;
    struct inet_diag_req_v2 request;
  } question = {
      .header = {.nlmsg_len = sizeof question, .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST},
      .request = {.sdiag_family = AF_INET,
                  .sdiag_protocol = IPPROTO_TCP,
                  .idiag_states = 1 << TCP_LISTEN,
                  .id = {.idiag_sport = htons(port), .idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}}},
  };
  struct {
    struct nlmsghdr header;
    struct inet_diag_msg of;
    char more[4096];
  } answer;
  if (diag < 0 || send(diag, &question, sizeof question, 0) < 0) die("sock_diag");
  if (recv(diag, &answer, sizeof answer, 0) < 0) die("sock_diag");
  if (answer.header.nlmsg_type != SOCK_DIAG_BY_FAMILY) {
    fprintf(stderr, "no listener found on port %d\n", port);
    exit(1);
  }
  return (struct backlog){.length = answer.of.idiag_rqueue, .limit = answer.of.idiag_wqueue};
}

// Returns whether one more connection fits into the server's backlog, with a quarter to spare. If it overflowed, the
// measurement would be of the second after which the kernel tries again.
static bool may_connect(int port) {
  static int capacity;
  if (capacity <= 0) {
    struct backlog backlog = backlog_of(port);
    capacity = backlog.limit - backlog.limit / 4 - backlog.length;
  }
  return capacity-- > 0;
}

// The CPU time of the servers, in milliseconds.
static double cpu_of(int count, char **pids) {
  double sum = 0;
  for (int i = 0; i < count; i++) {
    clockid_t clock;
    if (clock_getcpuclockid(atoi(pids[i]), &clock)) die("clock_getcpuclockid");
    sum += milliseconds(clock);
  }
  return sum;
}

// The CPU time of the kernel's ksoftirqd threads, in milliseconds. When packets come faster than the kernel handles them
// in passing, these threads do it: the measured traffic's work, not another program's.
static double ksoftirqd(void) {
  glob_t names;
  double sum = 0;
  if (glob("/proc/[0-9]*/comm", 0, NULL, &names)) return 0;
  for (size_t i = 0; i < names.gl_pathc; i++) {
    char name[16] = "", *pid = names.gl_pathv[i] + strlen("/proc/");
    FILE *comm = fopen(names.gl_pathv[i], "r");
    if (!comm) continue; // a process that has exited
    if (fgets(name, sizeof name, comm) && !strncmp(name, "ksoftirqd/", 10)) sum += cpu_of(1, &pid);
    fclose(comm);
  }
  globfree(&names);
  return sum;
}

// The time for which the machine's cores have run programs, since some fixed moment, in milliseconds.
static double busy(void) {
  unsigned long user, nice, system, idle, iowait;
  FILE *stat = fopen("/proc/stat", "r");
  if (!stat || fscanf(stat, "cpu %lu %lu %lu %lu %lu", &user, &nice, &system, &idle, &iowait) != 5) die("/proc/stat");
  fclose(stat);
  // The other fields are not measured but sampled, by what runs at a clock tick.
  double all = milliseconds(CLOCK_MONOTONIC) * sysconf(_SC_NPROCESSORS_ONLN);
  return all - 1e3 * (idle + iowait) / sysconf(_SC_CLK_TCK) - ksoftirqd();
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

// A percentile of sorted values.
static double percentile(const double *values, int count, int percent) {
  return values[((long)percent * count + 99) / 100 - 1];
}
