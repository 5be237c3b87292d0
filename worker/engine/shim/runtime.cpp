// What is asked of the loaded libtorch as a whole.

#include "shim.h"

#include <ATen/Version.h>

extern "C" bool tutti_show_config(char* text, size_t capacity, char* message) {
  return tutti::guarded(message, [&] {
    const std::string config = at::show_config();
    std::strncpy(text, config.c_str(), capacity - 1);
    text[capacity - 1] = '\0';
  });
}

// The same convolution on the same GPU then gives the same bits; which algorithm runs is not a matter of timing.
extern "C" bool tutti_be_deterministic(char* message) {
  return tutti::guarded(message, [&] {
    at::globalContext().setDeterministicCuDNN(true);
    at::globalContext().setBenchmarkCuDNN(false);
  });
}

// Taken here, in position-independent code, so that it is the library's own address and not a stub in the executable.
extern "C" const void* tutti_address_in_libtorch() {
  return reinterpret_cast<const void*>(&at::show_config);
}
