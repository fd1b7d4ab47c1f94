// Runs kernels of a folder through the emulator's own driver and NVRTC entry points, as a program would:
//   selftest LIBRARY KERNELS_FOLDER SEED... -- FILE.cu...
// Each file is one `kernel(float* out, const float* in, int n[, TensorMap...])`, launched as its comments say:
//   // expects: KIND [or KIND]  the launch must be reported as one of these, or "silence": it must pass without a report
//   // launch: grid=2 block=64 shared=256 n=50 cluster=2
//   // map: of=in dims=64,128 strides=128 box=64,64 swizzle=128 [base=BYTES] [type=bf16|f32]     (one per TensorMap parameter)
// `in` and `out` have 4096 floats; the 16-bit words of `in` are 0, 1, 2, ..., nothing is written in `out`.
// Prints "ok" or "FAILED" per file; the exit code is the number of failures.
#include <dlfcn.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace {

constexpr int FLOATS = 4096;
constexpr int SHARED_ATTRIBUTE = 8, CLUSTER_ATTRIBUTE = 4;

void* library;

template <class F> F* entry(const char* name) {
    void* f = dlsym(library, name);
    if (!f) std::fprintf(stderr, "no %s\n", name), std::exit(100);
    return reinterpret_cast<F*>(f);
}

#define CALL(name, type, ...)                                                                \
    do {                                                                                     \
        if (int code = entry<type>(#name)(__VA_ARGS__)) return std::string(#name " says ") + std::to_string(code); \
    } while (0)

std::string read_file(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
}

using Fields = std::map<std::string, std::string>;

// The comments `// NAME: key=value ...` of a kernel.
std::vector<Fields> comments(const std::string& source, const std::string& name) {
    std::vector<Fields> found;
    std::istringstream lines(source);
    const std::string start = "// " + name + ": ";
    for (std::string line; std::getline(lines, line);) {
        if (line.rfind(start, 0) != 0) continue;
        std::istringstream words(line.substr(start.size()));
        Fields fields;
        for (std::string word; words >> word;) {
            const size_t equals = word.find('=');
            fields[word.substr(0, equals)] = equals == std::string::npos ? "" : word.substr(equals + 1);
        }
        found.push_back(fields);
    }
    return found;
}

uint64_t number(const Fields& f, const std::string& key, uint64_t otherwise) {
    auto it = f.find(key);
    return it == f.end() ? otherwise : std::strtoull(it->second.c_str(), nullptr, 10);
}

template <class T> std::vector<T> numbers(const Fields& f, const std::string& key) {
    std::vector<T> values;
    auto it = f.find(key);
    std::istringstream text(it == f.end() ? "" : it->second);
    for (std::string value; std::getline(text, value, ',');) values.push_back(static_cast<T>(std::strtoull(value.c_str(), nullptr, 10)));
    return values;
}

struct alignas(64) TensorMap {
    unsigned char bytes[128];
};

std::string encode(const Fields& f, uint64_t in, uint64_t out, TensorMap& map) {
    auto dims = numbers<uint64_t>(f, "dims"), strides = numbers<uint64_t>(f, "strides");
    auto box = numbers<uint32_t>(f, "box");
    if (strides.size() + 1 != dims.size() || box.size() != dims.size()) return "the map comment has dims, strides and box of different ranks";
    std::vector<uint32_t> ones(dims.size(), 1);
    const bool wide = f.count("type") && f.at("type") == "f32";
    const uint64_t swizzle = number(f, "swizzle", 0), base = (f.at("of") == "out" ? out : in) + number(f, "base", 0);
    CALL(cuTensorMapEncodeTiled, int(void*, int, unsigned, void*, const uint64_t*, const uint64_t*, const uint32_t*, const uint32_t*, int, int, int, int), &map, wide ? 7 : 9,
         static_cast<unsigned>(dims.size()), reinterpret_cast<void*>(base), dims.data(), strides.data(), box.data(), ones.data(), 0, swizzle == 128 ? 3 : swizzle == 64 ? 2 : swizzle == 32 ? 1 : 0, 2, 0);
    return "";
}

// CUlaunchConfig and its one attribute.
struct Attribute {
    int id, pad;
    unsigned cluster[16];
};
struct Launch {
    unsigned grid[3], block[3], shared;
    void* stream;
    Attribute* attributes;
    unsigned count;
};

std::string compile(const std::string& source, const std::string& name, const std::filesystem::path& kernels, std::string& image) {
    std::vector<std::string> names, texts;
    for (const auto& file : std::filesystem::recursive_directory_iterator(kernels)) {
        if (file.path().extension() != ".cuh") continue;
        names.push_back(std::filesystem::relative(file.path(), kernels).string());
        texts.push_back(read_file(file.path()));
    }
    std::vector<const char*> name_list, text_list;
    for (size_t i = 0; i < names.size(); i++) name_list.push_back(names[i].c_str()), text_list.push_back(texts[i].c_str());
    void* program;
    CALL(nvrtcCreateProgram, int(void**, const char*, const char*, int, const char* const*, const char* const*), &program, source.c_str(), name.c_str(), static_cast<int>(names.size()),
         text_list.data(), name_list.data());
    const char* options[] = {"--gpu-architecture=sm_90a", "--std=c++17", "-default-device", "-DFLOAT_BF16=1"};
    if (entry<int(void*, int, const char* const*)>("nvrtcCompileProgram")(program, 4, options)) {
        size_t size;
        CALL(nvrtcGetProgramLogSize, int(void*, size_t*), program, &size);
        std::string log(size, 0);
        CALL(nvrtcGetProgramLog, int(void*, char*), program, log.data());
        return "does not compile: " + log;
    }
    size_t size;
    CALL(nvrtcGetCUBINSize, int(void*, size_t*), program, &size);
    image.resize(size);
    CALL(nvrtcGetCUBIN, int(void*, char*), program, image.data());
    CALL(nvrtcDestroyProgram, int(void**), &program);
    return "";
}

// Runs one kernel under one seed in a context of its own; what was reported goes to `report`.
std::string run(const std::string& source, const std::string& image, uint64_t seed, std::string& report) {
    void *context, *module, *function;
    CALL(cuCtxCreate_v2, int(void**, unsigned, int), &context, 0, 0);
    CALL(cuModuleLoadData, int(void**, const void*), &module, image.data());
    CALL(cuModuleGetFunction, int(void**, void*, const char*), &function, module, "kernel");
    uint64_t in = 0, out = 0;
    CALL(cuMemAlloc_v2, int(uint64_t*, size_t), &in, FLOATS * sizeof(float));
    CALL(cuMemAlloc_v2, int(uint64_t*, size_t), &out, FLOATS * sizeof(float));
    std::vector<uint16_t> words(2 * FLOATS);
    for (size_t i = 0; i < words.size(); i++) words[i] = static_cast<uint16_t>(i);
    CALL(cuMemcpyHtoD_v2, int(uint64_t, const void*, size_t), in, words.data(), FLOATS * sizeof(float));
    const std::vector<Fields> launches = comments(source, "launch"), map_comments = comments(source, "map");
    if (launches.size() != 1) return "has no launch comment";
    const Fields& f = launches[0];
    int n = static_cast<int>(number(f, "n", 0));
    std::vector<TensorMap> maps(map_comments.size());
    std::vector<void*> parameters{&out, &in, &n};
    for (size_t i = 0; i < maps.size(); i++) {
        std::string error = encode(map_comments[i], in, out, maps[i]);
        if (!error.empty()) return error;
        parameters.push_back(&maps[i]);
    }
    const auto shared = static_cast<unsigned>(number(f, "shared", 0));
    CALL(cuFuncSetAttribute, int(void*, int, int), function, SHARED_ATTRIBUTE, static_cast<int>(shared));
    Attribute cluster{CLUSTER_ATTRIBUTE, 0, {static_cast<unsigned>(number(f, "cluster", 1)), 1, 1}};
    Launch launch{{static_cast<unsigned>(number(f, "grid", 1)), 1, 1}, {static_cast<unsigned>(number(f, "block", 32)), 1, 1}, shared, nullptr, &cluster, 1};
    entry<void(uint64_t)>("moesharp_emulator_seed")(seed);
    entry<void()>("moesharp_emulator_forget")();
    CALL(cuLaunchKernelEx, int(const Launch*, void*, void**, void**), &launch, function, parameters.data(), nullptr);
    const int code = entry<int()>("cuCtxSynchronize")();
    report = entry<const char*()>("moesharp_emulator_report")();
    entry<int(void*)>("cuModuleUnload")(module);
    entry<int(void*)>("cuCtxDestroy_v2")(context);
    if ((code != 0) != !report.empty()) return "the driver says " + std::to_string(code) + ", the emulator reports \"" + report + "\"";
    return "";
}

std::string expected(const std::string& source) {
    const std::string start = "// expects: ";
    if (source.rfind(start, 0) != 0) return "";
    return source.substr(start.size(), source.find('\n') - start.size());
}

// A report is of use when it says where: kernel, line of this file, block and thread.
std::string missing(const std::string& report, const std::string& file) {
    for (const std::string& part : {std::string("kernel kernel"), file + ":", std::string("block ("), std::string("thread (")}) {
        if (report.find(part) == std::string::npos) return "the report lacks \"" + part + "\": " + report;
    }
    return "";
}

std::string test(const std::filesystem::path& file, const std::filesystem::path& kernels, const std::vector<uint64_t>& seeds) {
    const std::string source = read_file(file), kind = expected(source);
    std::string image, report;
    std::string error = compile(source, file.filename().string(), kernels, image);
    for (uint64_t seed : seeds) {
        if (error.empty()) error = run(source, image, seed, report);
        if (!error.empty()) return error;
        const std::string when = " (seed " + std::to_string(seed) + ")";
        const std::string got = report.empty() ? "silence" : report.substr(0, report.find(':'));
        if ((" or " + kind + " or ").find(" or " + got + " or ") == std::string::npos) return "must be reported as " + kind + ", is reported as \"" + report + "\"" + when;
        if (!report.empty()) error = missing(report, file.filename().string());
    }
    return error;
}

}  // namespace

int main(int count, char** arguments) {
    int i = 3;
    std::vector<uint64_t> seeds;
    for (; i < count && std::strcmp(arguments[i], "--") != 0; i++) seeds.push_back(std::strtoull(arguments[i], nullptr, 10));
    if (i >= count || seeds.empty()) return std::fprintf(stderr, "usage: selftest LIBRARY KERNELS_FOLDER SEED... -- FILE.cu...\n"), 100;
    library = dlopen(arguments[1], RTLD_NOW);
    if (!library) return std::fprintf(stderr, "%s\n", dlerror()), 100;
    entry<int(unsigned)>("cuInit")(0);
    int failures = 0;
    for (i++; i < count; i++) {
        const std::string error = test(arguments[i], arguments[2], seeds);
        std::printf("%s %s%s%s\n", error.empty() ? "ok" : "FAILED", arguments[i], error.empty() ? "" : ": ", error.c_str());
        std::fflush(stdout);
        failures += !error.empty();
    }
    return failures > 99 ? 99 : failures;
}
