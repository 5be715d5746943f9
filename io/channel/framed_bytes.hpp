#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "runrig/channel/opcodes.hpp"

namespace runrig::pickle::detail {

/// Adds a pickle's bytes to a vector, in frames from protocol 4 on. A large payload lies between two of them, so that a
/// reader can take it in one piece.
class FramedBytes {
 public:
  /// Unframed for what becomes a part of another pickle.
  FramedBytes(std::vector<std::byte>& out, int protocol, bool framed)
      : out_(out), protocol_(protocol), framed_(framed && protocol >= 4) {}

  [[nodiscard]] int protocol() const noexcept { return protocol_; }
  void put(Op op) { out_.push_back(static_cast<std::byte>(op)); }
  void put_bytes(std::span<const std::byte> bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }
  template <class T>
  void put_number(T value) {
    put_bytes(std::as_bytes(std::span(&value, 1)));
  }
  template <class T>
  void put_scalar(Op op, T value) {
    put(op);
    put_number(value);
  }
  template <class Length>
  void put_payload(Op op, Length length, std::span<const std::byte> payload) {
    const bool alone = framed_ && payload.size() >= frame_bytes;
    if (alone) end_frame();
    put_scalar(op, length);
    put_bytes(payload);
    if (alone) begin_frame();
  }

  void begin_frame() {
    if (!framed_) return;
    frame_start_ = out_.size();
    put(Op::frame);
    put_number(std::uint64_t{0});
  }
  void end_frame() {
    if (!framed_) return;
    const std::size_t content = frame_start_ + frame_header_bytes;
    const std::uint64_t length = out_.size() - content;
    if (length < least_frame_bytes) {
      const auto start = out_.begin() + static_cast<std::ptrdiff_t>(frame_start_);
      out_.erase(start, start + frame_header_bytes);
    } else {
      std::memcpy(out_.data() + frame_start_ + 1, &length, sizeof length);
    }
  }
  void end_large_frame() {
    if (!framed_ || out_.size() - frame_start_ < frame_bytes) return;
    end_frame();
    begin_frame();
  }

 private:
  static constexpr std::size_t frame_bytes = std::size_t{64} << 10;  // closed when it has reached this, as in Python
  static constexpr std::size_t least_frame_bytes = 4;                // Python leaves the header of a smaller one out
  static constexpr std::ptrdiff_t frame_header_bytes = 1 + sizeof(std::uint64_t);

  std::vector<std::byte>& out_;
  const int protocol_;
  const bool framed_;
  std::size_t frame_start_ = 0;
};

}  // namespace runrig::pickle::detail
