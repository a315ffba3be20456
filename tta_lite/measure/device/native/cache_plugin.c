// A plugin of qemu-aarch64 that follows every access to memory through a model of two caches.
//
//   qemu-aarch64 -plugin file=cache_plugin.so,out=misses.json,l1=32768,l1_ways=2,l2=1048576,l2_ways=16,line=64 program
//
// QEMU hands on an access of 16 bytes as one of 16 or two of 8. `dc zva` is not seen (QEMU clears the block by itself),
// nor are prefetches.

#include "cache_model.h"
#include "plugin.h"

enum { LOADS, STORES, BYTES_LOADED, BYTES_STORED, L1_MISSES, L2_MISSES, COLUMN_COUNT };
static const char *const NAMES[COLUMN_COUNT] = {"loads",        "stores",    "bytes_loaded",
                                                "bytes_stored", "l1_misses", "l2_misses"};
static uint64_t seen[COLUMN_COUNT];
static struct cache_pair caches;

static void accessed(unsigned cpu, qemu_plugin_meminfo_t info, uint64_t address, void *data) {
  (void)cpu, (void)data;
  uint64_t bytes = UINT64_C(1) << qemu_plugin_mem_size_shift(info);
  bool store = qemu_plugin_mem_is_store(info);
  seen[store ? STORES : LOADS]++;
  seen[store ? BYTES_STORED : BYTES_LOADED] += bytes;
  cache_access(&caches, address, bytes);
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
  (void)id;
  for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++)
    qemu_plugin_register_vcpu_mem_cb(qemu_plugin_tb_get_insn(tb, i), accessed, QEMU_PLUGIN_CB_NO_REGS,
                                     QEMU_PLUGIN_MEM_RW, NULL);
}

static void snapshot(uint64_t *values) {
  memcpy(values, seen, sizeof seen);
  values[L1_MISSES] = caches.first_misses;
  values[L2_MISSES] = caches.second_misses;
}

static uint64_t number(int argc, char **argv, const char *name) {
  const char *text = split_argument(argc, argv, name);
  return text ? strtoull(text, NULL, 10) : 0;
}

EXPORTED int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info_t *info, int argc, char **argv) {
  (void)info;
  caches.line_bytes = number(argc, argv, "line");
  if (!cache_make(&caches.first, number(argc, argv, "l1"), number(argc, argv, "l1_ways"), caches.line_bytes) ||
      !cache_make(&caches.second, number(argc, argv, "l2"), number(argc, argv, "l2_ways"), caches.line_bytes)) {
    fputs("tta-lite plugin: l1, l1_ways, l2, l2_ways and line must make caches of a whole number of sets\n", stderr);
    return 1;
  }
  struct columns columns = {NAMES, COLUMN_COUNT, snapshot};
  if (split_install(id, argc, argv, columns)) return 1;
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  return 0;
}
