// A plugin of qemu-aarch64 that counts what a program executed, by kind of instruction, and the bytes it read and wrote.
//
//   qemu-aarch64 -plugin file=count_plugin.so,out=counts.json program
//
// Each translated block is counted as a whole when it begins, by one addition without a call; what it holds was decoded
// when it was translated. Exact as long as no signal ends a block midway and one thread runs.

#include "a64_classes.h"
#include "plugin.h"

enum { BYTES_LOADED = A64_CLASS_COUNT, BYTES_STORED, COLUMN_COUNT };

struct block {
  uint64_t executed;
  uint32_t holds[COLUMN_COUNT];
};

// A block that was handed to QEMU must stay where it is: a list of chunks, never a moved array.
enum { CHUNK = 4096 };
struct chunk {
  struct block blocks[CHUNK];
  struct chunk *older;
};
static struct chunk *chunks;
static size_t used = CHUNK;
static pthread_mutex_t chunks_lock = PTHREAD_MUTEX_INITIALIZER;

static struct block *new_block(void) {
  pthread_mutex_lock(&chunks_lock);
  if (used == CHUNK) {
    struct chunk *fresh = calloc(1, sizeof *fresh);
    if (!fresh) split_stop("no memory is left for the counts");
    fresh->older = chunks;
    chunks = fresh;
    used = 0;
  }
  struct block *block = &chunks->blocks[used++];
  pthread_mutex_unlock(&chunks_lock);
  return block;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
  (void)id;
  struct block *block = new_block();
  for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
    uint32_t word;
    memcpy(&word, qemu_plugin_insn_data(qemu_plugin_tb_get_insn(tb, i)), sizeof word);
    struct a64_instruction found = a64_decode(word);
    block->holds[found.kind]++;
    block->holds[BYTES_LOADED] += found.bytes_loaded;
    block->holds[BYTES_STORED] += found.bytes_stored;
  }
  qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, &block->executed, 1);
}

static void snapshot(uint64_t *values) {
  memset(values, 0, COLUMN_COUNT * sizeof *values);
  pthread_mutex_lock(&chunks_lock);
  size_t filled = used;
  for (struct chunk *chunk = chunks; chunk; chunk = chunk->older, filled = CHUNK) {
    for (size_t i = 0; i < filled; i++) {
      uint64_t executed = chunk->blocks[i].executed;
      if (!executed) continue;
      for (size_t column = 0; column < COLUMN_COUNT; column++)
        values[column] += executed * chunk->blocks[i].holds[column];
    }
  }
  pthread_mutex_unlock(&chunks_lock);
}

#define X(name) #name,
static const char *const NAMES[COLUMN_COUNT] = {A64_CLASSES(X) "bytes_loaded", "bytes_stored"};
#undef X

EXPORTED int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info_t *info, int argc, char **argv) {
  (void)info;
  struct columns columns = {NAMES, COLUMN_COUNT, snapshot};
  if (split_install(id, argc, argv, columns)) return 1;
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  return 0;
}
