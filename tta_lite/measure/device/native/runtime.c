#include "runtime.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int Status;

static struct {
  Status (*CreateEnvironment)(int, const void *, void **);
  Status (*CreateModelFromFile)(void *, const char *, void **);
  Status (*GetModelSignature)(void *, size_t, void **);
  Status (*GetNumSignatureInputs)(void *, size_t *);
  Status (*GetNumSignatureOutputs)(void *, size_t *);
  Status (*GetSignatureInputTensorByIndex)(void *, size_t, void **);
  Status (*GetSignatureOutputTensorByIndex)(void *, size_t, void **);
  Status (*GetRankedTensorType)(void *, void *);
  Status (*CreateOptions)(void **);
  Status (*SetOptionsHardwareAccelerators)(void *, int);
  Status (*CreateOpaqueOptions)(const char *, void *, void (*)(void *), void **);
  Status (*AddOpaqueOptions)(void *, void *);
  Status (*CreateCompiledModel)(void *, void *, void *, void **);
  Status (*GetCompiledModelInputBufferRequirements)(void *, size_t, size_t, void **);
  Status (*GetCompiledModelOutputBufferRequirements)(void *, size_t, size_t, void **);
  Status (*CreateManagedTensorBufferFromRequirements)(void *, const void *, void *, void **);
  Status (*GetTensorBufferPackedSize)(void *, size_t *);
  Status (*LockTensorBuffer)(void *, void **, int);
  Status (*UnlockTensorBuffer)(void *);
  Status (*RunCompiledModel)(void *, size_t, size_t, void **, size_t, void **);
  Status (*CompiledModelIsFullyAccelerated)(void *, bool *);
  Status (*CompiledModelGetProfiler)(void *, void **);
  Status (*StartProfiler)(void *);
  Status (*StopProfiler)(void *);
  Status (*ResetProfiler)(void *);
  Status (*GetNumProfilerEvents)(void *, int *);
  Status (*GetProfilerEvents)(void *, int, struct Event *);
} api;

void fail(const char *format, ...) {
  va_list words;
  va_start(words, format);
  fputs("error: ", stderr);
  vfprintf(stderr, format, words);
  fputc('\n', stderr);
  va_end(words);
  exit(1);
}

static void check(Status status, const char *what) {
  if (status != 0) fail("LiteRT cannot %s (its status %d); what it said itself stands above", what, status);
}

void open_library(const char *path) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) fail("the library of LiteRT cannot be opened: %s", dlerror());
#define FIND(name)                                                                             \
  if (!(*(void **)&api.name = dlsym(library, "LiteRt" #name)))                                 \
  fail("%s has no function LiteRt%s: libLiteRt.so of ai-edge-litert 2.3 is expected", path, #name)
  FIND(CreateEnvironment);
  FIND(CreateModelFromFile);
  FIND(GetModelSignature);
  FIND(GetNumSignatureInputs);
  FIND(GetNumSignatureOutputs);
  FIND(GetSignatureInputTensorByIndex);
  FIND(GetSignatureOutputTensorByIndex);
  FIND(GetRankedTensorType);
  FIND(CreateOptions);
  FIND(SetOptionsHardwareAccelerators);
  FIND(CreateOpaqueOptions);
  FIND(AddOpaqueOptions);
  FIND(CreateCompiledModel);
  FIND(GetCompiledModelInputBufferRequirements);
  FIND(GetCompiledModelOutputBufferRequirements);
  FIND(CreateManagedTensorBufferFromRequirements);
  FIND(GetTensorBufferPackedSize);
  FIND(LockTensorBuffer);
  FIND(UnlockTensorBuffer);
  FIND(RunCompiledModel);
  FIND(CompiledModelIsFullyAccelerated);
  FIND(CompiledModelGetProfiler);
  FIND(StartProfiler);
  FIND(StopProfiler);
  FIND(ResetProfiler);
  FIND(GetNumProfilerEvents);
  FIND(GetProfilerEvents);
#undef FIND
}

void *read_model(const char *path, void **environment) {
  void *file = NULL;
  check(api.CreateEnvironment(0, NULL, environment), "make an environment");
  check(api.CreateModelFromFile(*environment, path, &file), "read the file as a .tflite model");
  return file;
}

/* Options travel as TOML texts that the runtime frees. */
static void add_options(void *options, const char *identifier, const char *toml) {
  void *opaque = NULL;
  char *payload = strdup(toml);
  if (!payload) fail("out of memory");
  check(api.CreateOpaqueOptions(identifier, payload, free, &opaque), "take its options");
  check(api.AddOpaqueOptions(options, opaque), "take its options");
}

static void make_buffers(struct Model *model, bool inputs) {
  size_t count = inputs ? model->inputs : model->outputs;
  void **buffers = calloc(count + 1, sizeof *buffers);
  struct TensorType *types = calloc(count + 1, sizeof *types);
  if (!buffers || !types) fail("out of memory");
  for (size_t i = 0; i < count; i++) {
    void *tensor = NULL, *requirements = NULL;
    check((inputs ? api.GetSignatureInputTensorByIndex : api.GetSignatureOutputTensorByIndex)(model->signature, i, &tensor),
          "find an input or output");
    check(api.GetRankedTensorType(tensor, &types[i]), "tell the shape of an input or output");
    check((inputs ? api.GetCompiledModelInputBufferRequirements
                  : api.GetCompiledModelOutputBufferRequirements)(model->compiled, 0, i, &requirements),
          "tell what an input or output needs");
    check(api.CreateManagedTensorBufferFromRequirements(model->environment, &types[i], requirements, &buffers[i]),
          "make room for an input or output");
  }
  *(inputs ? &model->input : &model->output) = buffers;
  *(inputs ? &model->input_type : &model->output_type) = types;
}

void compile_model(struct Model *model, void *environment, void *file, int threads, const char *kernels, bool profile) {
  char toml[128];
  memset(model, 0, sizeof *model);
  model->environment = environment;
  model->file = file;
  check(api.CreateOptions(&model->options), "make options");
  check(api.SetOptionsHardwareAccelerators(model->options, ON_CPU), "choose the processor");
  snprintf(toml, sizeof toml, "num_threads = %d\nkernel_mode = \"%s\"\n", threads, kernels);
  add_options(model->options, "xnnpack", toml);
  if (profile) add_options(model->options, "runtime_options_string", "enable_profiling = true\n");
  check(api.CreateCompiledModel(environment, file, model->options, &model->compiled), "prepare the model");
  check(api.GetModelSignature(file, 0, &model->signature), "find the model's signature");
  check(api.GetNumSignatureInputs(model->signature, &model->inputs), "count the inputs");
  check(api.GetNumSignatureOutputs(model->signature, &model->outputs), "count the outputs");
  make_buffers(model, true);
  make_buffers(model, false);
}

void run_model(const struct Model *model) {
  check(api.RunCompiledModel(model->compiled, 0, model->inputs, model->input, model->outputs, model->output),
        "run the model");
}

size_t buffer_bytes(void *buffer) {
  size_t bytes = 0;
  check(api.GetTensorBufferPackedSize(buffer, &bytes), "tell the size of an input or output");
  return bytes;
}

void write_buffer(void *buffer, const void *bytes, size_t count) {
  void *memory = NULL;
  check(api.LockTensorBuffer(buffer, &memory, WRITE), "open an input");
  memcpy(memory, bytes, count);
  check(api.UnlockTensorBuffer(buffer), "close an input");
}

void read_buffer(void *buffer, void *bytes, size_t count) {
  void *memory = NULL;
  check(api.LockTensorBuffer(buffer, &memory, READ), "open an output");
  memcpy(bytes, memory, count);
  check(api.UnlockTensorBuffer(buffer), "close an output");
}

bool fully_delegated(const struct Model *model) {
  bool all = false;
  check(api.CompiledModelIsFullyAccelerated(model->compiled, &all), "tell which kernels it uses");
  return all;
}

static void *profiler(const struct Model *model) {
  void *found = NULL;
  check(api.CompiledModelGetProfiler(model->compiled, &found), "give its profiler");
  return found;
}

void start_profile(const struct Model *model) {
  check(api.ResetProfiler(profiler(model)), "empty its profiler");
  check(api.StartProfiler(profiler(model)), "start its profiler");
}

int stop_profile(const struct Model *model, struct Event **events) {
  int count = 0;
  check(api.StopProfiler(profiler(model)), "stop its profiler");
  check(api.GetNumProfilerEvents(profiler(model), &count), "count what it profiled");
  *events = calloc((size_t)count + 1, sizeof **events);
  if (!*events) fail("out of memory");
  if (count) check(api.GetProfilerEvents(profiler(model), count, *events), "tell what it profiled");
  return count;
}
