#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

/// How messages lie in a stream: as CPython's multiprocessing.connection.Connection writes them.
///
/// A message is its length and its bytes. The length is a signed 32-bit number, big-endian; for more than 2^31 - 1
/// bytes, -1 and then an unsigned 64-bit number. (CPython sends head and body of more than 16 KiB by two writes, to
/// save a copy; in a stream nobody can tell, and a gathering write needs neither copy nor second call.)
namespace runrig::detail {

class FrameHead {
 public:
  explicit FrameHead(std::uint64_t body_bytes) noexcept;
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {bytes_.data(), size_}; }

 private:
  std::array<std::byte, 12> bytes_{};
  std::size_t size_;
};

/// Takes the head of a message, in whatever pieces it comes, and no byte more.
class FrameHeadReader {
 public:
  /// Where the next bytes belong, and how many are wanted; nothing once the head is complete.
  [[nodiscard]] std::span<std::byte> wanted() noexcept { return std::span(bytes_).subspan(filled_, wanted_ - filled_); }
  /// So many of those have come. Throws FormatError, which names the `source`, for a length that none can have.
  void took(std::size_t bytes, std::string_view source);
  [[nodiscard]] bool begun() const noexcept { return filled_ != 0; }
  [[nodiscard]] bool complete() const noexcept { return filled_ == wanted_; }
  /// Of a complete head.
  [[nodiscard]] std::uint64_t body_bytes() const noexcept { return body_bytes_; }

 private:
  std::array<std::byte, 12> bytes_{};
  std::size_t filled_ = 0;
  std::size_t wanted_ = 4;
  std::uint64_t body_bytes_ = 0;
};

/// Throws Error message_size if a message is longer than `max_bytes`.
void check_frame_length(std::uint64_t body_bytes, std::size_t max_bytes, std::string_view source);

}  // namespace runrig::detail
