#include "module.h"

#include <dlfcn.h>
#include <link.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <shared_mutex>

namespace emu {
namespace {

struct Image {
    uintptr_t low, high, base;
    std::string file;
};

std::shared_mutex lock;
std::vector<Image> images;

// The loader must find the emulator's functions for a kernel library; a host that loaded the emulator privately hid them.
void publish_self() {
    Dl_info self;
    if (dladdr(reinterpret_cast<void*>(&publish_self), &self)) dlopen(self.dli_fname, RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD);
}

struct Search {
    uintptr_t base;
    Image* image;
};

int extent(dl_phdr_info* info, size_t, void* data) {
    auto* s = static_cast<Search*>(data);
    if (info->dlpi_addr != s->base) return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const auto& p = info->dlpi_phdr[i];
        if (p.p_type != PT_LOAD) continue;
        uintptr_t low = info->dlpi_addr + p.p_vaddr, high = low + p.p_memsz;
        if (!s->image->low || low < s->image->low) s->image->low = low;
        if (high > s->image->high) s->image->high = high;
    }
    return 1;
}

}  // namespace

Module* load_module(const void* data, std::string& error) {
    static std::once_flag once;
    std::call_once(once, publish_self);
    ImageHeader header;
    std::memcpy(&header, data, sizeof header);
    if (std::memcmp(header.magic, IMAGE_MAGIC, sizeof IMAGE_MAGIC) != 0) {
        error = "not an image of this emulator";
        return nullptr;
    }
    const char* folder = std::getenv("TMPDIR");
    std::string file = std::string(folder ? folder : "/tmp") + "/moesharp-kernel-XXXXXX";
    int fd = mkstemp(file.data());
    const char* bytes = static_cast<const char*>(data) + sizeof header;
    size_t left = header.bytes;
    while (fd >= 0 && left > 0) {
        ssize_t n = write(fd, bytes, left);
        if (n <= 0) break;
        bytes += n;
        left -= static_cast<size_t>(n);
    }
    if (fd >= 0) close(fd);
    if (fd < 0 || left > 0) {
        error = "cannot write " + file;
        return nullptr;
    }
    void* handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        error = dlerror();
        unlink(file.c_str());
        return nullptr;
    }
    auto* module = new Module{handle, file, {}};
    auto** names = static_cast<const char**>(dlsym(handle, "emu_kernel_names"));
    const bool hopper = dlsym(handle, "emu_uses_hopper") != nullptr;
    for (; names && *names; names++) {
        std::string name = *names;
        auto* sizes = static_cast<const unsigned*>(dlsym(handle, ("emu_sizes_" + name).c_str()));
        auto thunk = reinterpret_cast<void (*)(void**)>(dlsym(handle, ("emu_thunk_" + name).c_str()));
        module->kernels.push_back(new Kernel{name, thunk, std::vector<unsigned>(sizes + 1, sizes + 1 + sizes[0]), hopper});
    }
    link_map* map = nullptr;
    dlinfo(handle, RTLD_DI_LINKMAP, &map);
    Image image{0, 0, map->l_addr, file};
    Search search{map->l_addr, &image};
    dl_iterate_phdr(extent, &search);
    std::unique_lock guard(lock);
    images.push_back(image);
    return module;
}

void unload_module(Module* module) {
    {
        std::unique_lock guard(lock);
        std::erase_if(images, [&](const Image& i) { return i.file == module->file; });
    }
    dlclose(module->handle);
    unlink(module->file.c_str());
    for (Kernel* k : module->kernels) delete k;
    delete module;
}

Kernel* find_kernel(Module* module, const char* name) {
    for (Kernel* k : module->kernels) {
        if (k->name == name) return k;
    }
    return nullptr;
}

bool in_module(uintptr_t at) {
    std::shared_lock guard(lock);
    for (const Image& i : images) {
        if (at >= i.low && at < i.high) return true;
    }
    return false;
}

bool module_of(const void* code, std::string& file, uintptr_t& offset) {
    auto at = reinterpret_cast<uintptr_t>(code);
    std::shared_lock guard(lock);
    for (const Image& i : images) {
        if (at >= i.low && at < i.high) {
            file = i.file;
            offset = at - i.base;
            return true;
        }
    }
    return false;
}

}  // namespace emu
