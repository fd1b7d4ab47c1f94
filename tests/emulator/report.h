// What the emulator has to say about a kernel, kept for the host program to fetch and printed to standard error.
#pragma once
#include <string>

namespace emu {

// Files a report; the first one of a launch counts.
void file_report(const std::string& kind, const std::string& text);

// "kernel.cu:12 (inlined at other.cuh:3)" for a code address; "?" when it is not known. Slow: only for reports.
std::string source_line(const void* code);

}  // namespace emu
