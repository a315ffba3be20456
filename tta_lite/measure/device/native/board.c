#define _GNU_SOURCE
#include "board.h"

#include <dirent.h>
#include <gnu/libc-version.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#include "json.h"
#include "runtime.h"

#define CPU "/sys/devices/system/cpu/cpu%d/"
#define ZONES "/sys/class/thermal"

/* -> the first line of a file without its end; empty: there is none. */
static const char *line_of(char *line, int size, const char *path) {
  FILE *file = fopen(path, "r");
  line[0] = '\0';
  if (!file) return line;
  if (!fgets(line, size, file)) line[0] = '\0';
  fclose(file);
  line[strcspn(line, "\n")] = '\0';
  return line;
}

static long number_of(const char *format, int cpu) {
  char path[128], line[64];
  snprintf(path, sizeof path, format, cpu);
  return line_of(line, sizeof line, path)[0] ? atol(line) : -1;
}

static bool is_there(int cpu) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return cpu == 0;
  return CPU_ISSET(cpu, &allowed);
}

/* Figures that are larger for faster cores. The first is 1024 for all where a device tree names no capacities. */
static const char *const speeds[] = {CPU "cpu_capacity", CPU "cpufreq/cpuinfo_max_freq"};

void find_cores(const char *kind, bool *found) {
  bool known = false;
  for (int cpu = 0; cpu < MOST_CPUS; cpu++) found[cpu] = is_there(cpu);
  if (!strcmp(kind, "all")) return;
  if (strcmp(kind, "big") && strcmp(kind, "little")) fail("--cores must be big, little or all. Received: %s", kind);
  for (size_t i = 0; i < sizeof speeds / sizeof *speeds; i++) {
    long fastest = -1, slowest = -1;
    for (int cpu = 0; cpu < MOST_CPUS; cpu++) {
      long own = found[cpu] ? number_of(speeds[i], cpu) : -1;
      if (own > fastest) fastest = own;
      if (own >= 0 && (slowest < 0 || own < slowest)) slowest = own;
    }
    known = known || fastest >= 0;
    if (fastest == slowest) continue;
    for (int cpu = 0; cpu < MOST_CPUS; cpu++)
      found[cpu] = found[cpu] && number_of(speeds[i], cpu) == (strcmp(kind, "big") ? slowest : fastest);
    return;
  }
  if (known) fail("--cores=%s: all cores here are alike. Expected: --cores=all", kind);
  fail("--cores=%s: this kernel does not say how fast its cores are. Name them: --cpus=4,5", kind);
}

void parse_cpus(const char *text, bool *found) {
  const char *rest = text;
  memset(found, 0, MOST_CPUS * sizeof *found);
  do {
    char *end;
    long first = strtol(rest, &end, 10), last = first;
    if (end == rest) fail("--cpus must be as 4,5 or 0-3. Received: %s", text);
    if (*end == '-') {
      rest = end + 1;
      last = strtol(rest, &end, 10);
      if (end == rest) fail("--cpus must be as 4,5 or 0-3. Received: %s", text);
    }
    if (first < 0 || last < first || last >= MOST_CPUS) fail("--cpus must be as 4,5 or 0-3. Received: %s", text);
    for (long cpu = first; cpu <= last; cpu++) found[cpu] = true;
    rest = *end == ',' ? end + 1 : end;
  } while (*rest >= '0' && *rest <= '9');
  if (*rest) fail("--cpus must be as 4,5 or 0-3. Received: %s", text);
}

void run_on(const bool *cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (int cpu = 0; cpu < MOST_CPUS; cpu++)
    if (cpus[cpu]) CPU_SET(cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) fail("the system does not let this run on those cores only");
}

void write_cpus(FILE *out, const bool *cpus) {
  const char *between = "";
  fputc('[', out);
  for (int cpu = 0; cpu < MOST_CPUS; cpu++) {
    if (!cpus[cpu]) continue;
    fprintf(out, "%s%d", between, cpu);
    between = ", ";
  }
  fputc(']', out);
}

void write_state(FILE *out) {
  const char *between = "";
  char path[384], line[128];
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  fprintf(out, "{\"unix_time\": %lld, \"cpus\": [", (long long)now.tv_sec);
  for (int cpu = 0; cpu < MOST_CPUS; cpu++) {
    long khz = number_of(CPU "cpufreq/scaling_cur_freq", cpu);
    if (khz < 0) continue;
    snprintf(path, sizeof path, CPU "cpufreq/scaling_governor", cpu);
    fprintf(out, "%s{\"cpu\": %d, \"khz\": %ld, \"governor\": ", between, cpu, khz);
    write_text(out, line_of(line, sizeof line, path));
    fputc('}', out);
    between = ", ";
  }
  fputs("], \"temperatures\": [", out);
  between = "";
  DIR *zones = opendir(ZONES);
  for (struct dirent *one; zones && (one = readdir(zones));) {
    if (strncmp(one->d_name, "thermal_zone", 12)) continue;
    snprintf(path, sizeof path, ZONES "/%s/temp", one->d_name);
    if (!line_of(line, sizeof line, path)[0]) continue;
    fprintf(out, "%s{\"millidegrees\": %ld, \"zone\": ", between, atol(line));
    snprintf(path, sizeof path, ZONES "/%s/type", one->d_name);
    write_text(out, line_of(line, sizeof line, path)[0] ? line : one->d_name);
    fputc('}', out);
    between = ", ";
  }
  if (zones) closedir(zones);
  fputs("]}", out);
}

/* One a core: what /proc/cpuinfo says it is. Not the rest of that file: a Raspberry Pi tells its serial number there. */
static void write_processors(FILE *out) {
  static const char *const fields[] = {"CPU implementer", "CPU part", "model name"};
  char line[512];
  const char *between = "";
  bool open = false;
  FILE *file = fopen("/proc/cpuinfo", "r");
  fputc('[', out);
  while (file && fgets(line, sizeof line, file)) {
    if (line[0] == '\n' && open) {
      fputc('}', out);
      open = false;
    }
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
      char *colon = strchr(line, ':');
      if (strncmp(line, fields[i], strlen(fields[i])) || !colon) continue;
      colon[strcspn(colon, "\n")] = '\0';
      fprintf(out, "%s\"%s\": ", open ? ", " : *between ? ", {" : "{", fields[i]);
      write_text(out, colon + 1 + strspn(colon + 1, " \t"));
      open = true;
      between = ", ";
    }
  }
  if (open) fputc('}', out);
  if (file) fclose(file);
  fputc(']', out);
}

void write_machine(FILE *out) {
  struct utsname names;
  memset(&names, 0, sizeof names);
  uname(&names);
  /* The number alone: what follows it is a builder's own. */
  names.release[strspn(names.release, "0123456789.")] = '\0';
  fputs("{\"architecture\": ", out);
  write_text(out, names.machine);
  fputs(", \"kernel\": ", out);
  write_text(out, names.release);
  fprintf(out, ", \"libc\": \"glibc %s\", \"processors\": ", gnu_get_libc_version());
  write_processors(out);
  fputc('}', out);
}

long long process_memory(const char *field) {
  char line[128];
  long long kilobytes = -1;
  size_t length = strlen(field);
  FILE *file = fopen("/proc/self/status", "r");
  while (file && fgets(line, sizeof line, file))
    if (!strncmp(line, field, length) && line[length] == ':') kilobytes = atoll(line + length + 1);
  if (file) fclose(file);
  return kilobytes < 0 ? -1 : kilobytes * 1024;
}
