#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <span>
#include <string>
#include <vector>

#include "runrig/engine/start_method.hpp"

namespace runrig::detail {

/// What is being thrown in a worker, as bytes for its parent; call it in a catch block. Never throws: without memory
/// for the description the bytes are none, which says just that.
void encode_current_exception(std::vector<std::byte>& out) noexcept;

/// An exception that is not thrown, the same way.
void encode_error_text(std::vector<std::byte>& out, const std::string& text) noexcept;

/// The exception for the parent's caller. The bytes are checked like any input.
[[nodiscard]] std::exception_ptr task_exception(std::span<const std::byte> bytes, StartMethod method,
                                                std::uint32_t worker, pid_t pid) noexcept;

/// The name of the worker with that index, and of its successors: Python's.
[[nodiscard]] std::string worker_name(StartMethod method, std::uint32_t worker);

}  // namespace runrig::detail
