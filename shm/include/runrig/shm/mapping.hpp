#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string_view>

namespace runrig {

/// What a process may do with memory that it maps.
enum class Access : std::uint8_t { read_only, read_write };

/// What one entry of the second level of page tables maps, on x86-64 and on others with pages of 4 KiB.
inline constexpr std::size_t huge_page_bytes = std::size_t{2} << 20;

/// A part of a file or memfd, mapped shared into this process; unmapped by the destructor. Move-only.
///
/// Holds the memory, not the name: it stays valid when the file is unlinked, and when the descriptor it was made from
/// is closed. A forked child has the mapping at the same address. Base addresses differ between other processes.
/// Whoever may write the file can also truncate it, unless it is a sealed memfd; touching what was cut off is SIGBUS.
class Mapping {
 public:
  /// Nothing; bytes() is empty.
  Mapping() noexcept = default;
  /// Maps `size_bytes` bytes of the file open as `fd`, from `offset_bytes`, a multiple of the page size. `name` is for
  /// messages. Throws Error (not_enough_memory, permission_denied, ...), invalid_argument for size 0 or a wrong offset.
  /// That the file is long enough is for the caller to check.
  ///
  /// `at`: exactly there, a multiple of the page size, or nowhere: address_in_use if any of it is taken. Otherwise
  /// where there is room, a file from its beginning, of 2 MiB and more, at a multiple of 2 MiB if that can be had.
  [[nodiscard]] static Mapping map(int fd, std::size_t offset_bytes, std::size_t size_bytes, Access access,
                                   std::string_view name, void* at = nullptr);
  Mapping(Mapping&& other) noexcept { take(other); }
  Mapping& operator=(Mapping&& other) noexcept;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() { reset(); }

  [[nodiscard]] explicit operator bool() const noexcept { return data_ != nullptr; }
  [[nodiscard]] std::size_t size_bytes() const noexcept { return size_bytes_; }
  [[nodiscard]] Access access() const noexcept { return access_; }
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {data_, size_bytes_}; }
  /// Throws std::logic_error if mapped read_only.
  [[nodiscard]] std::span<std::byte> writable_bytes() const {
    if (data_ != nullptr && access_ == Access::read_only) throw std::logic_error("write to memory mapped read_only");
    return {data_, size_bytes_};
  }
  /// Unmaps now. Harmless if there is nothing.
  void reset() noexcept;

 private:
  static Mapping map_at(int fd, std::size_t offset_bytes, std::size_t size_bytes, Access access, std::string_view name,
                        void* at);
  void take(Mapping& other) noexcept;

  // The mapping's owner: a boost::interprocess::mapped_region, built in place so that Boost stays out of this header
  // and a mapping costs no allocation. It exists exactly while data_ is not null; data_ and size_bytes_ are its range,
  // beside it so that reading them needs no call.
  alignas(std::uintptr_t) std::byte region_[4 * sizeof(std::uintptr_t)];
  std::byte* data_ = nullptr;
  std::size_t size_bytes_ = 0;
  Access access_ = Access::read_only;
};

}  // namespace runrig
