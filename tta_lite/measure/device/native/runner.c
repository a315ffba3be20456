/* Runs a .tflite file through LiteRT's C interface, and writes what it took as one JSON file. No Python on the board.
 *
 *   tta_runner --library=./libLiteRt.so --model=model.tflite --out=results.json --golden=0.input.bin:0.output.bin
 *
 * Exit code 0: it ran, and every golden output agrees; 3: it ran and one differs by more than --tolerance or --steps; 1: it
 * did not run, and the last line of standard error says why. --probe opens the library, tells about the machine and ends. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "board.h"
#include "json.h"
#include "runtime.h"

enum { MOST_FILES = 256, MOST_THREADS = 256, MOST_RUNS = 1000000000 };
enum { FORMAT = 1, GOLDEN_DIFFERS = 3, MARK_BEGIN = -77001, MARK_END = -77002 };

static struct {
  const char *library, *model, *out, *kernels, *cores, *cpus, *dump;
  long threads, warmup_runs, runs, profile_runs, steps;
  double warmup_min_secs, min_secs, max_secs, tolerance;
  bool marks, probe;
  const char *input[MOST_FILES], *expect[MOST_FILES], *golden[MOST_FILES];
  int inputs, expects, goldens;
} args = {.library = "./libLiteRt.so", .kernels = "xnnpack", .threads = 1, .warmup_runs = 5, .runs = 50,
          .warmup_min_secs = 0.2, .min_secs = 1.0, .tolerance = 1e-5};

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* A system call that does nothing, for an emulator that counts what lies between two of them. */
static void mark(int what) {
  if (args.marks) close(what);
}

static void infer(const struct Model *model) {
  mark(MARK_BEGIN);
  run_model(model);
  mark(MARK_END);
}

/* ---- arguments ---- */

static long whole(const char *name, const char *text, long low, long high) {
  char *end;
  errno = 0;
  long value = strtol(text, &end, 10);
  if (errno || end == text || *end || value < low || value > high)
    fail("--%s must be a whole number of %ld to %ld. Received: %s", name, low, high, text);
  return value;
}

static double real(const char *name, const char *text) {
  char *end;
  double value = strtod(text, &end);
  if (end == text || *end || !(value >= 0) || isinf(value)) fail("--%s must be 0 or more. Received: %s", name, text);
  return value;
}

static void add(const char *name, const char **list, int *count, const char *value) {
  if (*count == MOST_FILES) fail("--%s can be given %d times at most", name, MOST_FILES);
  list[(*count)++] = value;
}

static void parse(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    const char *word = argv[i], *value = strchr(word, '=');
    char name[32] = "";
    if (!strcmp(word, "--marks")) {
      args.marks = true;
      continue;
    }
    if (!strcmp(word, "--probe")) {
      args.probe = true;
      continue;
    }
    if (strncmp(word, "--", 2) || !value || value - word - 2 >= (long)sizeof name)
      fail("A flag must be as --name=value. Received: %s", word);
    memcpy(name, word + 2, (size_t)(value++ - word - 2));
    if (!strcmp(name, "library")) args.library = value;
    else if (!strcmp(name, "model")) args.model = value;
    else if (!strcmp(name, "out")) args.out = value;
    else if (!strcmp(name, "kernels")) args.kernels = value;
    else if (!strcmp(name, "cores")) args.cores = value;
    else if (!strcmp(name, "cpus")) args.cpus = value;
    else if (!strcmp(name, "dump")) args.dump = value;
    else if (!strcmp(name, "threads")) args.threads = whole(name, value, 1, MOST_THREADS);
    else if (!strcmp(name, "warmup_runs")) args.warmup_runs = whole(name, value, 0, MOST_RUNS);
    else if (!strcmp(name, "runs")) args.runs = whole(name, value, 1, MOST_RUNS);
    else if (!strcmp(name, "profile_runs")) args.profile_runs = whole(name, value, 0, MOST_RUNS);
    else if (!strcmp(name, "steps")) args.steps = whole(name, value, 0, MOST_RUNS);
    else if (!strcmp(name, "warmup_min_secs")) args.warmup_min_secs = real(name, value);
    else if (!strcmp(name, "min_secs")) args.min_secs = real(name, value);
    else if (!strcmp(name, "max_secs")) args.max_secs = real(name, value);
    else if (!strcmp(name, "tolerance")) args.tolerance = real(name, value);
    else if (!strcmp(name, "input")) add(name, args.input, &args.inputs, value);
    else if (!strcmp(name, "expect")) add(name, args.expect, &args.expects, value);
    else if (!strcmp(name, "golden")) add(name, args.golden, &args.goldens, value);
    else fail("There is no flag --%s", name);
  }
  if (args.probe) return;
  if (!args.model || !args.out) fail("--model and --out must be given");
  /* LiteRT 2.3 takes "reference" too, but runs what "builtin" does. */
  if (strcmp(args.kernels, "xnnpack") && strcmp(args.kernels, "builtin"))
    fail("--kernels must be xnnpack or builtin. Received: %s", args.kernels);
  if (args.cores && args.cpus) fail("--cores and --cpus say the same: give one of them");
}

/* ---- inputs and outputs ---- */

static void *read_file(const char *path, size_t expected) {
  FILE *file = fopen(path, "rb");
  char *bytes = malloc(expected + 1);
  if (!file) fail("%s cannot be read: %s", path, strerror(errno));
  if (!bytes) fail("out of memory");
  size_t count = fread(bytes, 1, expected + 1, file);
  fclose(file);
  if (count != expected) fail("%s: %zu bytes are expected. Received: %zu%s", path, expected, count,
                              count > expected ? " or more" : "");
  return bytes;
}

static void fill_from(void *buffer, const char *path) {
  size_t count = buffer_bytes(buffer);
  void *bytes = read_file(path, count);
  write_buffer(buffer, bytes, count);
  free(bytes);
}

/* Any bytes are 8 and 16 bit integers; floats are drawn from -1 to 1, other integers from 0 to 99, as benchmark_model does. */
static void fill_at_random(void *buffer, int element) {
  size_t count = buffer_bytes(buffer);
  unsigned char *bytes = malloc(count + 8);
  uint64_t state = 88172645463325252u;
  if (!bytes) fail("out of memory");
  for (size_t i = 0; i < count;) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    if (element == FLOAT32) {
      float value = (float)((double)(state >> 11) * 0x1p-52 - 1.0);
      memcpy(bytes + i, &value, sizeof value);
      i += sizeof value;
    } else if (element == INT32 || element == INT64) {
      int64_t value = (int64_t)(state % 100);
      memcpy(bytes + i, &value, element == INT32 ? 4 : 8);
      i += element == INT32 ? 4 : 8;
    } else if (element == BOOL) {
      bytes[i++] = state & 1;
    } else if (element == FLOAT16) {
      uint16_t value = (uint16_t)(0x3000 | (state & 0x83ff)); /* between 1/8 and 1/4, of either sign */
      memcpy(bytes + i, &value, sizeof value);
      i += sizeof value;
    } else {
      memcpy(bytes + i, &state, 8);
      i += 8;
    }
  }
  write_buffer(buffer, bytes, count);
  free(bytes);
}

static void fill_inputs(const struct Model *model) {
  if (args.inputs && (size_t)args.inputs != model->inputs)
    fail("--input must be given once for each of the %zu inputs. Received: %d", model->inputs, args.inputs);
  for (size_t i = 0; i < model->inputs; i++) {
    if (args.inputs) fill_from(model->input[i], args.input[i]);
    else fill_at_random(model->input[i], model->input_type[i].element);
  }
}

static double value_at(const void *bytes, size_t place, int element) {
  switch (element) {
    case FLOAT32: { float v; memcpy(&v, (const char *)bytes + place * 4, 4); return v; }
    case INT32: { int32_t v; memcpy(&v, (const char *)bytes + place * 4, 4); return v; }
    case INT64: { int64_t v; memcpy(&v, (const char *)bytes + place * 8, 8); return (double)v; }
    case INT16: { int16_t v; memcpy(&v, (const char *)bytes + place * 2, 2); return v; }
    case UINT8: case BOOL: return ((const uint8_t *)bytes)[place];
    default: return ((const int8_t *)bytes)[place];
  }
}

static size_t width_of(int element) {
  return element == FLOAT32 || element == INT32 ? 4 : element == INT64 ? 8 : element == INT16 ? 2 : 1;
}

/* Compares an output with a file; -> whether it is near enough: floats to --tolerance times the largest expected value,
 * integers to --steps. */
static bool compare(FILE *out, void *buffer, int element, const char *path, const char *name) {
  size_t count = buffer_bytes(buffer), width = width_of(element), different = 0;
  double largest = 0, scale = 0;
  bool numbers = true;
  void *expected = read_file(path, count), *got = malloc(count + 1);
  if (!got) fail("out of memory");
  read_buffer(buffer, got, count);
  for (size_t i = 0; i < count / width; i++) {
    double wanted = value_at(expected, i, element), had = value_at(got, i, element);
    different += memcmp((char *)expected + i * width, (char *)got + i * width, width) != 0;
    if (fabs(wanted) > scale) scale = fabs(wanted);
    if (fabs(wanted - had) > largest) largest = fabs(wanted - had);
    numbers = numbers && isfinite(wanted) && isfinite(had);
  }
  bool agrees = !different || (numbers && largest <= (element == FLOAT32 ? args.tolerance * scale : (double)args.steps));
  fputs("{\"output\": ", out);
  write_text(out, name);
  fprintf(out, ", \"elements\": %zu, \"different\": %zu, \"largest\": %.9g, \"scale\": %.9g, \"agrees\": %s}", count / width,
          different, numbers ? largest : -1.0, isfinite(scale) ? scale : -1.0, agrees ? "true" : "false");
  free(expected);
  free(got);
  return agrees;
}

static void dump(const struct Model *model) {
  for (size_t i = 0; args.dump && i < model->outputs; i++) {
    char path[1024];
    size_t count = buffer_bytes(model->output[i]);
    char *bytes = malloc(count + 1);
    if (!bytes) fail("out of memory");
    read_buffer(model->output[i], bytes, count);
    snprintf(path, sizeof path, "%s/output%zu.bin", args.dump, i);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, count, file) != count || fclose(file)) fail("%s cannot be written: %s", path, strerror(errno));
    free(bytes);
  }
}

/* Before anything is timed: a mistake is told at once. */
static void check_counts(const struct Model *model) {
  if (args.expects && (size_t)args.expects != model->outputs)
    fail("--expect must be given once for each of the %zu outputs. Received: %d", model->outputs, args.expects);
  for (int i = 0; i < args.goldens; i++)
    if (!strchr(args.golden[i], ':')) fail("--golden must be as input.bin:output.bin. Received: %s", args.golden[i]);
  if (args.goldens && (model->inputs != 1 || model->outputs != 1))
    fail("--golden is for one input and one output. Received: %zu and %zu; use --input and --expect", model->inputs, model->outputs);
}

static bool check_golden(FILE *out, const struct Model *model) {
  bool all = true;
  const char *between = "";
  fputs("  \"golden\": [", out);
  for (int i = 0; i < args.expects; i++, between = ", ") {
    fputs(between, out);
    all &= compare(out, model->output[i], model->output_type[i].element, args.expect[i], args.expect[i]);
  }
  for (int i = 0; i < args.goldens; i++, between = ", ") {
    char input[1024];
    const char *colon = strrchr(args.golden[i], ':');
    if (colon - args.golden[i] >= (long)sizeof input) fail("--golden: too long a name. Received: %s", args.golden[i]);
    memcpy(input, args.golden[i], (size_t)(colon - args.golden[i]));
    input[colon - args.golden[i]] = '\0';
    fill_from(model->input[0], input);
    run_model(model);
    fputs(between, out);
    all &= compare(out, model->output[0], model->output_type[0].element, colon + 1, colon + 1);
  }
  fputs("],\n", out);
  return all;
}

/* ---- what is measured ---- */

static void time_runs(FILE *out, const struct Model *model, double **samples, long *runs) {
  long room = 1 << 16, warm = 0;
  double begin = seconds();
  *samples = malloc((size_t)room * sizeof **samples);
  if (!*samples) fail("out of memory");
  for (; warm < args.warmup_runs || seconds() - begin < args.warmup_min_secs; warm++) infer(model);
  /* After the warm-up, because a governor lets an idle core sleep. */
  fprintf(out, "  \"warmup_runs\": %ld,\n  \"before\": ", warm);
  write_state(out);
  fputs(",\n", out);
  begin = seconds();
  for (*runs = 0; *runs < args.runs || seconds() - begin < args.min_secs; ++*runs) {
    if (*runs == room && !(*samples = realloc(*samples, (size_t)(room *= 2) * sizeof **samples))) fail("out of memory");
    double start = seconds();
    infer(model);
    (*samples)[*runs] = (seconds() - start) * 1e6;
    if (args.max_secs > 0 && seconds() - begin >= args.max_secs) {
      ++*runs;
      break;
    }
  }
}

/* The profiled model is another one, so that the profiler does not slow what is timed. */
static void profile(FILE *out, void *environment, void *file) {
  struct Model model;
  fputs("  \"profile\": [", out);
  if (args.profile_runs) {
    compile_model(&model, environment, file, (int)args.threads, args.kernels, true);
    fill_inputs(&model);
    run_model(&model);
  }
  for (long run = 0; run < args.profile_runs; run++) {
    struct Event *events;
    const char *between = "";
    start_profile(&model);
    infer(&model);
    int count = stop_profile(&model, &events);
    fprintf(out, "%s\n    [", run ? "," : "");
    for (int i = 0; i < count; i++) {
      if (!(events[i].type & (EVENT_BUILTIN | EVENT_DELEGATE | EVENT_IN_DELEGATE))) continue;
      fprintf(out, "%s{\"type\": %d, \"node\": %llu, \"start_us\": %llu, \"us\": %llu, \"name\": ", between, (int)events[i].type,
              (unsigned long long)events[i].node, (unsigned long long)events[i].start_us,
              (unsigned long long)events[i].elapsed_us);
      write_text(out, events[i].tag ? events[i].tag : "");
      fputc('}', out);
      between = ", ";
    }
    fputc(']', out);
    free(events);
  }
  fputs("],\n", out);
}

/* What is being written, until it has its own name; it goes with the program, however that ends. */
static char temporary[1024];

static void remove_temporary(void) {
  if (temporary[0]) unlink(temporary);
}

int main(int argc, char **argv) {
  static bool cpus[MOST_CPUS];
  struct Model model;
  void *environment;
  double *samples;
  long runs;
  parse(argc, argv);
  if (args.probe) {
    open_library(args.library);
    write_machine(stdout);
    return 0;
  }
  if (args.cpus) parse_cpus(args.cpus, cpus);
  else find_cores(args.cores ? args.cores : "all", cpus);
  if (args.cpus || args.cores) run_on(cpus);
  if (strlen(args.out) + sizeof ".part" > sizeof temporary) fail("--out is too long");
  char *name = stpcpy(temporary, args.out);
  strcpy(name, ".part");
  FILE *out = fopen(temporary, "w");
  if (!out) {
    int why = errno;
    temporary[0] = '\0';
    fail("%s.part cannot be written: %s", args.out, strerror(why));
  }
  atexit(remove_temporary);
  open_library(args.library);

  fprintf(out, "{\n  \"format\": %d", FORMAT);
  long long resident = process_memory("VmRSS");
  double start = seconds();
  void *file = read_model(args.model, &environment);
  double loaded = seconds();
  compile_model(&model, environment, file, (int)args.threads, args.kernels, false);
  double compiled = seconds();
  check_counts(&model);
  fill_inputs(&model);
  double filled = seconds();
  infer(&model);
  double ran = seconds();
  fprintf(out, ",\n  \"init\": {\"load_s\": %.6f, \"compile_s\": %.6f, \"first_run_s\": %.6f},\n", loaded - start,
          compiled - loaded, ran - filled);
  fprintf(out, "  \"init_s\": %.6f,\n", ran - filled + compiled - start);
  time_runs(out, &model, &samples, &runs);
  long long peak = process_memory("VmHWM");
  fprintf(out, "  \"memory\": {\"before_bytes\": %lld, \"peak_bytes\": %lld},\n  \"after\": ", resident, peak);
  write_state(out);
  fputs(",\n", out);
  dump(&model);
  bool agrees = check_golden(out, &model);
  profile(out, environment, file);
  fprintf(out, "  \"kernels\": \"%s\",\n  \"fully_delegated\": %s,\n  \"threads\": %ld,\n  \"cpus\": ", args.kernels,
          fully_delegated(&model) ? "true" : "false", args.threads);
  write_cpus(out, cpus);
  fputs(",\n  \"pinned\": ", out);
  fputs(args.cpus || args.cores ? "true" : "false", out);
  fputs(",\n  \"machine\": ", out);
  write_machine(out);
  fputs(",\n  \"samples_us\": [", out);
  for (long i = 0; i < runs; i++) fprintf(out, "%s%.3f", i ? ", " : "", samples[i]);
  fputs("]\n}\n", out);
  /* Of a write that failed before, the stream knows no reason. */
  bool failed = ferror(out) != 0;
  errno = EIO;
  if (fflush(out) || fclose(out) || failed || rename(temporary, args.out))
    fail("%s cannot be written: %s", args.out, strerror(errno));
  temporary[0] = '\0';
  return agrees ? 0 : GOLDEN_DIFFERS;
}
