/* LiteRT's C interface, as far as the runner uses it. The wheel of ai-edge-litert has no headers: what is declared here is
 * what litert/c of LiteRT 2.3 says (https://github.com/google-ai-edge/LiteRT). The library is opened by name when the
 * program runs, so that one program serves any place where it lies. */
#ifndef TTA_RUNTIME_H_
#define TTA_RUNTIME_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { READ = 0, WRITE = 1, ON_CPU = 1 };

/* The types of elements that networks here begin and end with. */
enum { FLOAT32 = 1, INT32 = 2, UINT8 = 3, INT64 = 4, BOOL = 6, INT16 = 7, INT8 = 9, FLOAT16 = 10 };

/* A tensor's type and shape. Only the type is read; the rest is handed on as it came. */
struct TensorType {
  int32_t element;
  char layout[252];
};

/* litert/c/litert_profiler_event.h; `memory` is what the process has at the beginning and at the end. */
struct Event {
  const char *tag;
  int32_t type;
  uint64_t start_us, elapsed_us;
  int64_t memory[6];
  uint64_t node, more;
  int32_t source;
};
enum { EVENT_BUILTIN = 2, EVENT_DELEGATE = 4, EVENT_IN_DELEGATE = 8 };

struct Model {
  void *environment, *options, *file, *compiled, *signature;
  size_t inputs, outputs;
  void **input, **output;
  struct TensorType *input_type, *output_type;
};

/* Each ends the program with one line on standard error if it fails. */
void open_library(const char *path);
void *read_model(const char *path, void **environment);
void compile_model(struct Model *model, void *environment, void *file, int threads, const char *kernels, bool profile);
void run_model(const struct Model *model);
size_t buffer_bytes(void *buffer);
void write_buffer(void *buffer, const void *bytes, size_t count);
void read_buffer(void *buffer, void *bytes, size_t count);
/* Whether no op was left to the runtime's own kernels. */
bool fully_delegated(const struct Model *model);
void start_profile(const struct Model *model);
/* -> how many events there are; the caller frees them. */
int stop_profile(const struct Model *model, struct Event **events);

void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

#endif
