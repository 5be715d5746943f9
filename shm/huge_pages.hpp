#pragma once

#include <cstddef>
#include <string_view>

#include "runrig/shm/mapping.hpp"

namespace runrig::detail {

/// Does the work of AnonymousMemory::use_huge_pages() for the file open as `fd`, all of which is mapped.
[[nodiscard]] std::size_t use_huge_pages(int fd, const Mapping& mapping, std::size_t offset_bytes,
                                         std::size_t size_bytes, std::string_view name);

/// Reserves what it can of a range in huge pages, as long as that takes less time than single pages would: for memory
/// that nobody has touched yet. The file has that size; what is left out is for reserve_pages().
void reserve_huge_pages(int fd, std::size_t offset_bytes, std::size_t size_bytes) noexcept;

}  // namespace runrig::detail
