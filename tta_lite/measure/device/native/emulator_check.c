// Says what an emulated program sees, so that the emulator can be checked: the core, its features, the C++ library.
// Between the marks lie a thousand turns of a loop at least.

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

enum { HWCAP_OF_HALF = 1 << 10, HWCAP_OF_DOT = 1 << 20 };

int main(void) {
  char line[512], part[64] = "none";
  FILE *file = fopen("/proc/cpuinfo", "r");
  while (file && fgets(line, sizeof line, file)) sscanf(line, "CPU part : %63s", part);
  unsigned long features = getauxval(AT_HWCAP);
  volatile int turns = 0;
  close(-77001);
  while (turns < 1000) turns++;
  close(-77002);
  printf("%s %d %d %d\n", part, (features & HWCAP_OF_HALF) != 0, (features & HWCAP_OF_DOT) != 0,
         dlopen("libstdc++.so.6", RTLD_NOW) != NULL);
  return 0;
}
