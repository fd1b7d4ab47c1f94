// Driver API: devices and contexts.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

#include "driver.h"

using namespace emu;

namespace {

thread_local std::vector<Context*> stack;
std::mutex primary_lock;
std::map<int, Context*> primary;

int environment(const char* name, int otherwise) {
    const char* text = std::getenv(name);
    return text && *text ? std::atoi(text) : otherwise;
}

int devices() { return environment("MOESHARP_EMULATOR_DEVICES", 2); }
int architecture() { return environment("MOESHARP_EMULATOR_SM", 90); }
size_t device_memory() { return static_cast<size_t>(environment("MOESHARP_EMULATOR_MIB", 8192)) << 20; }

Context* make_context(int device) {
    auto* c = new Context;
    c->device = device;
    c->memory.capacity = device_memory();
    return c;
}

}  // namespace

namespace emu {
Context* current_context() { return stack.empty() ? nullptr : stack.back(); }
}  // namespace emu

EMU_API CUresult cuInit(unsigned) { return devices() > 0 ? CUDA_SUCCESS : CUDA_ERROR_NO_DEVICE; }

EMU_API CUresult cuDriverGetVersion(int* version) {
    *version = environment("MOESHARP_EMULATOR_DRIVER", 12040);
    return CUDA_SUCCESS;
}

EMU_API CUresult cuDeviceGetCount(int* count) {
    *count = devices();
    return CUDA_SUCCESS;
}

EMU_API CUresult cuDeviceGet(int* device, int ordinal) {
    if (ordinal < 0 || ordinal >= devices()) return CUDA_ERROR_INVALID_DEVICE;
    *device = ordinal;
    return CUDA_SUCCESS;
}

EMU_API CUresult cuDeviceGetName(char* name, int length, int device) {
    if (device >= devices()) return CUDA_ERROR_INVALID_DEVICE;
    std::strncpy(name, "MoeSharp emulator", static_cast<size_t>(length));
    name[length - 1] = 0;
    return CUDA_SUCCESS;
}

EMU_API CUresult cuDeviceGetPCIBusId(char* name, int length, int device) {
    if (device >= devices()) return CUDA_ERROR_INVALID_DEVICE;
    std::snprintf(name, static_cast<size_t>(length), "0000:%02x:00.0", device + 1);
    return CUDA_SUCCESS;
}

EMU_API CUresult cuDeviceGetUuid(unsigned char* uuid, int device) {
    std::memset(uuid, 0, 16);
    uuid[15] = static_cast<unsigned char>(device);
    return CUDA_SUCCESS;
}

EMU_API CUresult cuDeviceTotalMem_v2(size_t* bytes, int) {
    *bytes = device_memory();
    return CUDA_SUCCESS;
}

EMU_API CUresult cuDeviceGetAttribute(int* value, int attribute, int device) {
    if (device >= devices()) return CUDA_ERROR_INVALID_DEVICE;
    switch (attribute) {
        case 1: *value = 1024; break;                        // threads per block
        case 2: case 3: *value = 1024; break;                // block x, y
        case 4: *value = 64; break;                          // block z
        case 5: *value = 2147483647; break;                  // grid x
        case 6: case 7: *value = 65535; break;               // grid y, z
        case 8: *value = 49152; break;                       // shared memory per block without opting in
        case 10: *value = 32; break;                         // warp
        case 12: *value = 65536; break;                      // registers per block
        case 13: *value = 1000000; break;                    // clock, kHz
        case 16: *value = 4; break;                          // multiprocessors
        case 36: *value = 1000000; break;                    // memory clock, kHz
        case 37: *value = 64; break;                         // bus width
        case 38: *value = 1 << 20; break;                    // L2
        case 39: *value = 2048; break;                       // threads per multiprocessor
        case 40: *value = 1; break;                          // async engines
        case 75: *value = architecture() / 10; break;        // compute capability
        case 76: *value = architecture() % 10; break;
        case 81: *value = SHARED_LIMIT + 1024; break;        // shared memory per multiprocessor
        case 95: *value = 1; break;                          // cooperative launch
        case 97: *value = architecture() == 80 ? 166912 : architecture() < 90 ? 101376 : static_cast<int>(SHARED_LIMIT); break;  // with opting in
        case 115: *value = 1; break;                         // memory pools
        default: *value = 0; break;
    }
    return CUDA_SUCCESS;
}

EMU_API CUresult cuDevicePrimaryCtxRetain(void** context, int device) {
    if (device < 0 || device >= devices()) return CUDA_ERROR_INVALID_DEVICE;
    std::lock_guard guard(primary_lock);
    Context*& c = primary[device];
    if (!c) c = make_context(device);
    *context = c;
    return CUDA_SUCCESS;
}

// A primary context stays, so that allocations other users hold are not lost.
EMU_API CUresult cuDevicePrimaryCtxRelease_v2(int) { return CUDA_SUCCESS; }

EMU_API CUresult cuCtxCreate_v2(void** context, unsigned, int device) {
    if (device < 0 || device >= devices()) return CUDA_ERROR_INVALID_DEVICE;
    auto* c = make_context(device);
    *context = c;
    stack.push_back(c);
    return CUDA_SUCCESS;
}

EMU_API CUresult cuCtxDestroy_v2(void* context) {
    if (!context) return CUDA_ERROR_INVALID_VALUE;
    std::erase(stack, context);
    delete static_cast<Context*>(context);
    return CUDA_SUCCESS;
}

EMU_API CUresult cuCtxPushCurrent_v2(void* context) {
    if (!context) return CUDA_ERROR_INVALID_CONTEXT;
    stack.push_back(static_cast<Context*>(context));
    return CUDA_SUCCESS;
}

EMU_API CUresult cuCtxPopCurrent_v2(void** context) {
    if (stack.empty()) return CUDA_ERROR_INVALID_CONTEXT;
    if (context) *context = stack.back();
    stack.pop_back();
    return CUDA_SUCCESS;
}

EMU_API CUresult cuCtxSetCurrent(void* context) {
    if (!stack.empty()) stack.pop_back();
    if (context) stack.push_back(static_cast<Context*>(context));
    return CUDA_SUCCESS;
}

EMU_API CUresult cuCtxGetCurrent(void** context) {
    *context = current_context();
    return CUDA_SUCCESS;
}

EMU_API CUresult cuCtxGetDevice(int* device) {
    if (!current_context()) return CUDA_ERROR_INVALID_CONTEXT;
    *device = current_context()->device;
    return CUDA_SUCCESS;
}

EMU_API CUresult cuCtxSynchronize() {
    Entry e(current_context());
    return e.error() ? e.error() : drain(e.context, nullptr);
}

EMU_API CUresult cuGetErrorName(CUresult error, const char** name) {
    switch (error) {
        case CUDA_SUCCESS: *name = "CUDA_SUCCESS"; break;
        case CUDA_ERROR_INVALID_VALUE: *name = "CUDA_ERROR_INVALID_VALUE"; break;
        case CUDA_ERROR_OUT_OF_MEMORY: *name = "CUDA_ERROR_OUT_OF_MEMORY"; break;
        case CUDA_ERROR_NO_DEVICE: *name = "CUDA_ERROR_NO_DEVICE"; break;
        case CUDA_ERROR_INVALID_DEVICE: *name = "CUDA_ERROR_INVALID_DEVICE"; break;
        case CUDA_ERROR_INVALID_IMAGE: *name = "CUDA_ERROR_INVALID_IMAGE"; break;
        case CUDA_ERROR_INVALID_CONTEXT: *name = "CUDA_ERROR_INVALID_CONTEXT"; break;
        case CUDA_ERROR_INVALID_HANDLE: *name = "CUDA_ERROR_INVALID_HANDLE"; break;
        case CUDA_ERROR_NOT_FOUND: *name = "CUDA_ERROR_NOT_FOUND"; break;
        case CUDA_ERROR_NOT_READY: *name = "CUDA_ERROR_NOT_READY"; break;
        case CUDA_ERROR_ILLEGAL_ADDRESS: *name = "CUDA_ERROR_ILLEGAL_ADDRESS"; break;
        case CUDA_ERROR_LAUNCH_FAILED: *name = "CUDA_ERROR_LAUNCH_FAILED"; break;
        case CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED: *name = "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"; break;
        default: *name = "CUDA_ERROR_UNKNOWN"; break;
    }
    return CUDA_SUCCESS;
}

EMU_API CUresult cuGetErrorString(CUresult error, const char** text) { return cuGetErrorName(error, text); }

// For tests: forgets the failure that spoilt the calling thread's context.
EMU_API void moesharp_emulator_heal() {
    if (Context* c = current_context()) c->sticky = CUDA_SUCCESS;
}
