// Two caches behind each other: set-associative, least recently used out first, a line is brought in by a read and by a
// write alike. The second sees what missed in the first. No prefetcher and no third cache: a model, not the chip.

#ifndef TTA_LITE_CACHE_MODEL_H
#define TTA_LITE_CACHE_MODEL_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct cache {
  uint64_t sets, ways;
  uint64_t *lines;  // [sets, ways], the latest first; 0 is empty, so lines are numbered from 1
};

struct cache_pair {
  struct cache first, second;
  uint64_t line_bytes;
  uint64_t first_misses, second_misses;
};

// -> 1 if there is such a cache: a whole number of sets.
static inline int cache_make(struct cache *cache, uint64_t bytes, uint64_t ways, uint64_t line_bytes) {
  if (!ways || !line_bytes || !bytes || bytes % (ways * line_bytes)) return 0;
  cache->ways = ways;
  cache->sets = bytes / (ways * line_bytes);
  cache->lines = calloc(cache->sets * ways, sizeof *cache->lines);
  return cache->lines != NULL;
}

// -> 1 if the line was there; it is the latest of its set after.
static inline int cache_touch(struct cache *cache, uint64_t line) {
  uint64_t *set = cache->lines + (line % cache->sets) * cache->ways, tag = line + 1, place = 0;
  if (set[0] == tag) return 1;
  while (place < cache->ways && set[place] != tag) place++;
  int found = place < cache->ways;
  memmove(set + 1, set, (found ? place : cache->ways - 1) * sizeof *set);
  set[0] = tag;
  return found;
}

// An access may lie across the end of a line.
static inline void cache_access(struct cache_pair *pair, uint64_t address, uint64_t bytes) {
  uint64_t last = (address + bytes - 1) / pair->line_bytes;
  for (uint64_t line = address / pair->line_bytes; line <= last; line++) {
    if (cache_touch(&pair->first, line)) continue;
    pair->first_misses++;
    if (!cache_touch(&pair->second, line)) pair->second_misses++;
  }
}

#endif
