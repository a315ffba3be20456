/* What the board itself says while a network runs on it: cores, clocks, temperatures, memory. Linux only. */
#ifndef TTA_BOARD_H_
#define TTA_BOARD_H_

#include <stdbool.h>
#include <stdio.h>

enum { MOST_CPUS = 256 };

/* "big", "little" or "all" -> which cores are of that kind, by what the kernel says of their speed; ends the program where
 * all are alike. `found` has MOST_CPUS places. */
void find_cores(const char *kind, bool *found);
/* "0,4-5" -> those cores; ends the program on anything else. */
void parse_cpus(const char *text, bool *found);
/* Puts this process and all threads that it will start on those cores; ends the program if the system refuses. */
void run_on(const bool *cpus);
/* Writes the list of those cores as JSON. */
void write_cpus(FILE *out, const bool *cpus);
/* Writes governor, clock and temperature of now as JSON. */
void write_state(FILE *out);
/* Writes architecture, kernel, C library and kinds of cores as JSON. */
void write_machine(FILE *out);
/* -> bytes of VmRSS or VmHWM; -1: not known. */
long long process_memory(const char *field);

#endif
