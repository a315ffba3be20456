// What both plugins share: the functions of QEMU that they call, and how counts are split and written.
//
// Debian and Ubuntu have no package of qemu-plugin.h, so what is used of its API (version 1: QEMU 4.2 to 8.2) is declared
// here, after docs/devel/tcg-plugins.rst of QEMU 7.2.
//
// The program under test speaks by system calls: close(-77001) begins an inference and close(-77002) ends it (no such
// files are open, so the calls do nothing), and each reading of the clock within one begins a new row. qemu-user has no
// vDSO before 8.2 and one that makes the system call after, so that every reading is seen.

#ifndef TTA_LITE_PLUGIN_H
#define TTA_LITE_PLUGIN_H

#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define QEMU_PLUGIN_API 1
#define EXPORTED __attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;
typedef uint32_t qemu_plugin_meminfo_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_info_t;
enum { QEMU_PLUGIN_CB_NO_REGS = 0 };
enum { QEMU_PLUGIN_INLINE_ADD_U64 = 0 };
enum { QEMU_PLUGIN_MEM_RW = 3 };

void qemu_plugin_register_vcpu_init_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, unsigned));
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int, void *, uint64_t);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *,
                                      void (*)(unsigned, qemu_plugin_meminfo_t, uint64_t, void *), int, int, void *);
void qemu_plugin_register_vcpu_syscall_cb(qemu_plugin_id_t,
                                          void (*)(qemu_plugin_id_t, unsigned, int64_t, uint64_t, uint64_t, uint64_t,
                                                   uint64_t, uint64_t, uint64_t, uint64_t, uint64_t));
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void *), void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
unsigned qemu_plugin_mem_size_shift(qemu_plugin_meminfo_t);
bool qemu_plugin_mem_is_store(qemu_plugin_meminfo_t);

EXPORTED int qemu_plugin_version = QEMU_PLUGIN_API;

// Numbers of system calls of arm64.
enum { CALL_CLOSE = 57, CALL_CLOCK_GETTIME = 113, CALL_GETTIMEOFDAY = 169 };
enum { MARK_BEGIN = -77001, MARK_END = -77002 };

// What a plugin brings: the names of its columns, and how it adds up what happened so far into `values`.
struct columns {
  const char *const *names;
  size_t count;
  void (*snapshot)(uint64_t *values);
};

static struct {
  struct columns columns;
  char *path;
  unsigned threads;
  uint64_t *last;    // [columns]: at the last event
  uint64_t *rows;    // [rows, columns]: of all inferences
  size_t row_count, row_room;
  size_t *ends;      // [inferences]: the number of rows until its end
  size_t end_count, end_room;
  bool running, torn;
  pthread_mutex_t lock;
} split = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void split_stop(const char *why) {
  fprintf(stderr, "tta-lite plugin: %s\n", why);
  _exit(70);
}

static void *split_grow(void *old, size_t *room, size_t needed, size_t item) {
  if (needed <= *room) return old;
  *room = needed > 2 * *room ? needed : 2 * *room;
  void *grown = realloc(old, *room * item);
  if (!grown) split_stop("no memory is left for the counts");
  return grown;
}

// What happened since the last event becomes a row.
static void split_row(void) {
  size_t width = split.columns.count;
  uint64_t now[width];
  split.columns.snapshot(now);
  split.rows = split_grow(split.rows, &split.row_room, split.row_count + 1, width * sizeof *split.rows);
  uint64_t *row = split.rows + split.row_count++ * width;
  for (size_t i = 0; i < width; i++) {
    row[i] = now[i] - split.last[i];
    split.last[i] = now[i];
  }
}

static void split_call(qemu_plugin_id_t id, unsigned cpu, int64_t number, uint64_t first, uint64_t a2, uint64_t a3,
                       uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8) {
  (void)id, (void)cpu, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
  int32_t mark = number == CALL_CLOSE ? (int32_t)first : 0;
  bool clock = number == CALL_CLOCK_GETTIME || number == CALL_GETTIMEOFDAY;
  if (mark != MARK_BEGIN && mark != MARK_END && !clock) return;
  pthread_mutex_lock(&split.lock);
  if (mark == MARK_BEGIN) {
    split.torn |= split.running;
    split.running = true;
    split.columns.snapshot(split.last);
  } else if (mark == MARK_END) {
    split.torn |= !split.running;
    if (split.running) {
      split_row();
      split.ends = split_grow(split.ends, &split.end_room, split.end_count + 1, sizeof *split.ends);
      split.ends[split.end_count++] = split.row_count;
      split.running = false;
    }
  } else if (split.running) {
    split_row();
  }
  pthread_mutex_unlock(&split.lock);
}

static void split_values(FILE *out, const uint64_t *values) {
  for (size_t i = 0; i < split.columns.count; i++) fprintf(out, "%s%" PRIu64, i ? ", " : "[", values[i]);
  fputs("]", out);
}

// Whole or not at all: under another name first.
static void split_write(qemu_plugin_id_t id, void *data) {
  (void)id, (void)data;
  size_t width = split.columns.count;
  uint64_t total[width];
  split.columns.snapshot(total);
  char temporary[strlen(split.path) + 5];
  sprintf(temporary, "%s.tmp", split.path);
  FILE *out = fopen(temporary, "w");
  if (!out) split_stop("the counts cannot be written");
  fputs("{\"format\": 1, \"columns\": [", out);
  for (size_t i = 0; i < width; i++) fprintf(out, "%s\"%s\"", i ? ", " : "", split.columns.names[i]);
  fprintf(out, "], \"threads\": %u, \"torn\": %s,\n\"total\": ", split.threads,
          split.torn || split.running ? "true" : "false");
  split_values(out, total);
  fputs(",\n\"inferences\": [", out);
  for (size_t inference = 0, row = 0; inference < split.end_count; inference++) {
    fputs(inference ? ",\n[" : "\n[", out);
    for (size_t start = row; row < split.ends[inference]; row++) {
      if (row > start) fputs(",\n ", out);
      split_values(out, split.rows + row * width);
    }
    fputs("]", out);
  }
  fputs("]}\n", out);
  bool failed = ferror(out) != 0;
  if ((fclose(out) != 0) || failed || rename(temporary, split.path) != 0) {
    unlink(temporary);
    split_stop("the counts cannot be written");
  }
}

static void split_thread(qemu_plugin_id_t id, unsigned cpu) {
  (void)id, (void)cpu;
  __atomic_add_fetch(&split.threads, 1, __ATOMIC_SEQ_CST);
}

// -> the text after `name=` among the plugin's arguments, NULL if it is not there.
static inline const char *split_argument(int argc, char **argv, const char *name) {
  size_t length = strlen(name);
  for (int i = 0; i < argc; i++)
    if (!strncmp(argv[i], name, length) && argv[i][length] == '=') return argv[i] + length + 1;
  return NULL;
}

// -> 0, or 1 if an argument is missing: QEMU then says that the plugin could not be loaded, and ends.
static int split_install(qemu_plugin_id_t id, int argc, char **argv, struct columns columns) {
  const char *path = split_argument(argc, argv, "out");
  if (!path) {
    fputs("tta-lite plugin: argument out=PATH is missing\n", stderr);
    return 1;
  }
  split.columns = columns;
  split.path = strdup(path);
  split.last = calloc(columns.count, sizeof *split.last);
  if (!split.path || !split.last) return 1;
  qemu_plugin_register_vcpu_init_cb(id, split_thread);
  qemu_plugin_register_vcpu_syscall_cb(id, split_call);
  qemu_plugin_register_atexit_cb(id, split_write, NULL);
  return 0;
}

#endif
