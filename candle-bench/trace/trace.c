// Counts what a process asks of CUDA, and what the card does for it: driver calls by name, kernels by name with their
// time, copies and fills. Built on CUPTI, so that it sees the CUDA backend, hip-nvidia and cuBLAS alike.
//
//     cc -O2 -shared -fPIC -I$CUPTI/include -I$CUDA/include trace.c -o libtrace.so -L$CUPTI/lib -lcupti
//     CUDA_INJECTION64_PATH=libtrace.so CANDLE_BENCH_TRACE=counts.tsv program
//
// The CUDA driver opens the library named by CUDA_INJECTION64_PATH and calls InitializeInjection. When the process
// ends, CANDLE_BENCH_TRACE holds a line for each name: kind, name, count, bytes, microseconds, separated by tabs.
#include <cupti.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 1 << 14, BUFFER = 8 << 20 };

typedef struct {
    const char *kind;
    char *name;
    unsigned long long count, bytes, nanoseconds;
} Entry;

static Entry entries[SLOTS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

// Open addressing by a hash of the name; entries are only ever added.
static void add(const char *kind, const char *name, unsigned long long bytes, unsigned long long nanoseconds) {
    unsigned long long hash = 0xcbf29ce484222325ull;
    for (const char *c = name; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 0x100000001b3ull;
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < SLOTS; i++) {
        Entry *e = &entries[(hash + i) % SLOTS];
        if (!e->name) {
            e->kind = kind;
            e->name = strdup(name);
        }
        if (e->kind == kind && !strcmp(e->name, name)) {
            e->count++;
            e->bytes += bytes;
            e->nanoseconds += nanoseconds;
            break;
        }
    }
    pthread_mutex_unlock(&lock);
}

static const char CALL[] = "call", KERNEL[] = "kernel", COPY[] = "copy", FILL[] = "fill";

static void CUPTIAPI on_call(void *user, CUpti_CallbackDomain domain, CUpti_CallbackId id, const void *data) {
    (void)user, (void)domain, (void)id;
    const CUpti_CallbackData *call = data;
    if (call->callbackSite == CUPTI_API_ENTER)
        add(CALL, call->functionName, 0, 0);
}

static void CUPTIAPI need_buffer(uint8_t **buffer, size_t *size, size_t *most) {
    *buffer = aligned_alloc(8, BUFFER);
    *size = *buffer ? BUFFER : 0;
    *most = 0;
}

static const char *direction(unsigned char kind) {
    switch (kind) {
    case CUPTI_ACTIVITY_MEMCPY_KIND_HTOD: return "host to device";
    case CUPTI_ACTIVITY_MEMCPY_KIND_DTOH: return "device to host";
    case CUPTI_ACTIVITY_MEMCPY_KIND_DTOD: return "within the device";
    default: return "other";
    }
}

static void CUPTIAPI have_buffer(CUcontext context, uint32_t stream, uint8_t *buffer, size_t size, size_t used) {
    (void)context, (void)stream, (void)size;
    CUpti_Activity *record = NULL;
    while (cuptiActivityGetNextRecord(buffer, used, &record) == CUPTI_SUCCESS) {
        switch (record->kind) {
        case CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL: {
            CUpti_ActivityKernel9 *k = (CUpti_ActivityKernel9 *)record;
            add(KERNEL, k->name, 0, k->end - k->start);
            break;
        }
        case CUPTI_ACTIVITY_KIND_MEMCPY: {
            CUpti_ActivityMemcpy5 *c = (CUpti_ActivityMemcpy5 *)record;
            add(COPY, direction(c->copyKind), c->bytes, c->end - c->start);
            break;
        }
        case CUPTI_ACTIVITY_KIND_MEMSET: {
            CUpti_ActivityMemset4 *f = (CUpti_ActivityMemset4 *)record;
            add(FILL, "fill", f->bytes, f->end - f->start);
            break;
        }
        default: break;
        }
    }
    free(buffer);
}

static void finish(void) {
    cuptiActivityFlushAll(1);
    const char *path = getenv("CANDLE_BENCH_TRACE");
    FILE *out = path ? fopen(path, "w") : stderr;
    if (!out) {
        perror(path);
        return;
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        Entry *e = &entries[i];
        if (e->name)
            fprintf(out, "%s\t%s\t%llu\t%llu\t%.3f\n", e->kind, e->name, e->count, e->bytes, e->nanoseconds / 1e3);
    }
    if (path)
        fclose(out);
}

int InitializeInjection(void) {
    CUpti_SubscriberHandle subscriber;
    if (cuptiSubscribe(&subscriber, on_call, NULL) != CUPTI_SUCCESS ||
        cuptiEnableDomain(1, subscriber, CUPTI_CB_DOMAIN_DRIVER_API) != CUPTI_SUCCESS) {
        fprintf(stderr, "trace: CUPTI does not let itself be subscribed to; nothing is counted\n");
        return 1;
    }
    // Without activities (another profiler is attached, or the permission is missing) calls are counted all the same.
    if (getenv("CANDLE_BENCH_TRACE_KERNELS") &&
        (cuptiActivityRegisterCallbacks(need_buffer, have_buffer) != CUPTI_SUCCESS ||
         cuptiActivityEnable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) != CUPTI_SUCCESS ||
         cuptiActivityEnable(CUPTI_ACTIVITY_KIND_MEMCPY) != CUPTI_SUCCESS ||
         cuptiActivityEnable(CUPTI_ACTIVITY_KIND_MEMSET) != CUPTI_SUCCESS))
        fprintf(stderr, "trace: CUPTI records no kernels here; calls are counted\n");
    atexit(finish);
    return 1;
}
