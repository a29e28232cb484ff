// A HIP runtime for tests of candle-hip: device memory is host memory, and a launch of any kernel writes
// what it was given to the pointer that is its first argument. The environment makes it misbehave.
// Compiled with -DWITHOUT_x it lacks the function x. Signatures: HIP's public hip_runtime_api.h.
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef int hip_status; // hipError_t

static int knob(const char *name, int otherwise) {
    const char *value = getenv(name);
    return value ? atoi(value) : otherwise;
}

static int is(const char *name, const char *value) {
    const char *actual = getenv(name);
    return actual && strcmp(actual, value) == 0;
}

hip_status hipInit(unsigned flags) { return flags == 0 ? knob("FAKE_INIT", 0) : 1; }
hip_status hipRuntimeGetVersion(int *version) {
    *version = knob("FAKE_VERSION", 60241133);
    return 0;
}
hip_status hipGetDeviceCount(int *count) {
    *count = knob("FAKE_COUNT", 2);
    return *count == 0 ? 100 : 0; // hipErrorNoDevice
}

static _Thread_local int current = -1;
hip_status hipSetDevice(int device) {
    current = device;
    return 0;
}
hip_status hipDeviceGetName(char *name, int len, int device) {
    memset(name, 'x', (size_t)len); // a name that fills its field entirely has no terminator
    if (!is("FAKE_NAME", "long")) strcpy(name, device == 0 ? "Fake 0" : "");
    return 0;
}
hip_status hipDeviceTotalMem(size_t *bytes, int device) {
    *bytes = 1000u + (unsigned)device;
    return 0;
}
hip_status hipDeviceGetPCIBusId(char *id, int len, int device) {
    if (device != 0 || len < 13) return 1;
    strcpy(id, "0000:03:00.0");
    return 0;
}
hip_status hipDeviceGetAttribute(int *value, int attribute, int device) {
    (void)device;
    switch (attribute) {
    case 16: *value = 0; return 0;                      // Integrated
    case 56: *value = 1024; return 0;                   // MaxThreadsPerBlock
    case 63: *value = knob("FAKE_UNITS", 60); return 0; // MultiprocessorCount
    case 74: *value = 65536; return 0;                  // MaxSharedMemoryPerBlock
    case 87: *value = knob("FAKE_WAVE", 64); return 0;  // WarpSize
    default: return 1;
    }
}
__attribute__((unused)) static void properties(char *p, size_t offset) {
    strcpy(p, "gfx card that is no target");
    if (is("FAKE_LAYOUT", "moved")) offset = 2000;
    if (!is("FAKE_LAYOUT", "none")) strcpy(p + offset, "gfx90a:sramecc+:xnack-");
}
#ifndef WITHOUT_hipGetDevicePropertiesR0600
hip_status hipGetDevicePropertiesR0600(void *p, int device) {
    (void)device;
    properties(p, 1160);
    return 0;
}
#endif
#ifndef WITHOUT_hipGetDeviceProperties
hip_status hipGetDeviceProperties(void *p, int device) {
    (void)device;
    properties(p, 396);
    return 0;
}
#endif
hip_status hipMemGetInfo(size_t *free, size_t *total) {
    *free = 400u + (unsigned)current;
    *total = 1000u + (unsigned)current;
    return 0;
}
hip_status hipDeviceSynchronize(void) { return 0; }
hip_status hipDeviceCanAccessPeer(int *can, int device, int peer) {
    *can = device == 0 && peer == 1;
    return 0;
}
static int peer_enabled;
hip_status hipDeviceEnablePeerAccess(int peer, unsigned flags) {
    (void)peer, (void)flags;
    return peer_enabled++ ? 704 : 0; // hipErrorPeerAccessAlreadyEnabled
}
const char *hipGetErrorName(hip_status status) {
    switch (status) {
    case 2: return "hipErrorOutOfMemory";
    case 17: return "hipErrorInvalidDevicePointer";
    case 500: return "hipErrorNotFound";
    case 719: return "hipErrorLaunchFailure";
    default: return NULL;
    }
}
const char *hipGetErrorString(hip_status status) {
    return status == 719 ? "kernel 'k' read out of bounds" : "as its name says";
}
hip_status hipGetLastError(void) { return 0; }

static char stream_object, event_object, module_object, function_object;
hip_status hipStreamCreateWithFlags(void **stream, unsigned flags) {
    *stream = &stream_object;
    return flags == 1 ? 0 : 1;
}
hip_status hipStreamDestroy(void *stream) { return stream == &stream_object ? 0 : 400; }
hip_status hipStreamSynchronize(void *stream) { (void)stream; return knob("FAKE_SYNC", 0); }
hip_status hipStreamQuery(void *stream) { (void)stream; return knob("FAKE_QUERY", 0); }
hip_status hipStreamWaitEvent(void *stream, void *event, unsigned flags) {
    return stream == &stream_object && event == &event_object && flags == 0 ? 0 : 400;
}
hip_status hipEventCreateWithFlags(void **event, unsigned flags) {
    *event = &event_object;
    return flags == 0 || flags == 2 ? 0 : 1;
}
hip_status hipEventDestroy(void *event) { return event == &event_object ? 0 : 400; }
hip_status hipEventRecord(void *event, void *stream) {
    return stream == &stream_object && event == &event_object ? 0 : 400;
}
hip_status hipEventSynchronize(void *event) { (void)event; return 0; }
hip_status hipEventQuery(void *event) { (void)event; return 600; } // hipErrorNotReady
hip_status hipEventElapsedTime(float *ms, void *start, void *stop) {
    (void)start, (void)stop;
    *ms = 1.5f;
    return 0;
}

hip_status hipMalloc(void **ptr, size_t bytes) {
    if (bytes > ((size_t)1 << 40)) return 2; // hipErrorOutOfMemory
    *ptr = malloc(bytes);
    return 0;
}
hip_status hipFree(void *ptr) {
    int status = knob("FAKE_FREE", 0);
    if (status == 0) free(ptr);
    return status;
}
hip_status hipHostMalloc(void **ptr, size_t bytes, unsigned flags) {
    if (flags != 0) return 1;
    return hipMalloc(ptr, bytes);
}
hip_status hipHostFree(void *ptr) {
    free(ptr);
    return 0;
}
hip_status hipMemcpyAsync(void *dst, const void *src, size_t bytes, int kind, void *stream) {
    if (kind < 1 || kind > 3 || stream != &stream_object) return 1;
    memcpy(dst, src, bytes);
    return 0;
}
hip_status hipMemcpyPeerAsync(void *dst, int to, const void *src, int from, size_t bytes, void *stream) {
    if (to == from || stream != &stream_object) return 1;
    memcpy(dst, src, bytes);
    return 0;
}
hip_status hipMemsetD8Async(void *dst, unsigned char value, size_t count, void *stream) {
    (void)stream;
    memset(dst, value, count);
    return 0;
}
#ifndef WITHOUT_hipMemsetD16Async
hip_status hipMemsetD16Async(void *dst, unsigned short value, size_t count, void *stream) {
    (void)stream;
    for (size_t i = 0; i < count; i++) ((unsigned short *)dst)[i] = value;
    return 0;
}
#endif
hip_status hipMemsetD32Async(void *dst, int value, size_t count, void *stream) {
    (void)stream;
    for (size_t i = 0; i < count; i++) ((int *)dst)[i] = value;
    return 0;
}

hip_status hipModuleLoadData(void **module, const void *image) {
    (void)image;
    *module = &module_object;
    return 0;
}
hip_status hipModuleUnload(void *module) { return module == &module_object ? 0 : 400; }
hip_status hipModuleGetFunction(void **function, void *module, const char *name) {
    (void)module;
    *function = &function_object;
    return strcmp(name, "absent") == 0 ? 500 : 0;
}
hip_status hipModuleGetGlobal(void **ptr, size_t *bytes, void *module, const char *name) {
    (void)module, (void)name;
    *ptr = &module_object;
    *bytes = 1;
    return 0;
}
hip_status hipFuncGetAttribute(int *value, int attribute, void *function) {
    static const int values[] = {256, 1024, 0, 48, 33}; // threads, LDS, constants, scratch, registers
    if (function != &function_object || attribute < 0 || attribute > 4) return 1;
    *value = values[attribute];
    return 0;
}
// Writes to the first argument: gx gy gz bx by bz lds (u32), zero (u32), size (u64), the packed arguments.
hip_status hipModuleLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                                 unsigned bz, unsigned lds, void *stream, void **params, void **extra) {
    if (function != &function_object || stream != &stream_object || params != NULL || extra[0] != (void *)1 ||
        extra[2] != (void *)2 || extra[4] != (void *)3)
        return 1;
    uint64_t size = *(size_t *)extra[3];
    uint32_t geometry[8] = {gx, gy, gz, bx, by, bz, lds, 0};
    char *out;
    memcpy(&out, extra[1], sizeof out);
    memcpy(out, geometry, 32);
    memcpy(out + 32, &size, 8);
    memcpy(out + 40, extra[1], size);
    return 0;
}

#ifndef WITHOUT_graphs
// A capture runs its work at once; launching the graph only counts.
static char graph_object, graph_exec_object;
static int capturing;
hip_status hipStreamBeginCapture(void *stream, int mode) {
    if (stream != &stream_object || mode != 2 || capturing) return 1;
    capturing = 1;
    return 0;
}
hip_status hipStreamEndCapture(void *stream, void **graph) {
    if (stream != &stream_object || !capturing) return 1;
    capturing = 0;
    *graph = &graph_object;
    return 0;
}
hip_status hipGraphInstantiateWithFlags(void **exec, void *graph, unsigned long long flags) {
    *exec = &graph_exec_object;
    return graph == &graph_object && flags == 0 ? 0 : 1;
}
hip_status hipGraphDestroy(void *graph) { return graph == &graph_object ? 0 : 1; }
hip_status hipGraphLaunch(void *exec, void *stream) {
    return exec == &graph_exec_object && stream == &stream_object ? 0 : 1;
}
hip_status hipGraphExecDestroy(void *exec) { return exec == &graph_exec_object ? 0 : 1; }
#endif
