// The C face of the shim: every function is `extern "C"`, takes tensors as `at::Tensor*` (what tch's handles are), and
// reports a C++ exception by returning false after copying its message, so that nothing unwinds into Rust.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <cstring>
#include <exception>

namespace tutti {

// Where a failed call leaves its message; as large as `shim.rs` says.
constexpr size_t kMessageBytes = 1024;

template <typename Body>
bool guarded(char* message, Body body) {
  try {
    body();
    return true;
  } catch (const std::exception& error) {
    std::strncpy(message, error.what(), kMessageBytes - 1);
  } catch (...) {
    std::strncpy(message, "unknown C++ exception", kMessageBytes - 1);
  }
  message[kMessageBytes - 1] = '\0';
  return false;
}

}  // namespace tutti
