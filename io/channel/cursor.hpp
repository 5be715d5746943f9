#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "globals.hpp"

namespace runrig::pickle::detail {

/// Reads a stream's bytes in order, and keeps to its frames. Every length is compared with what is there before
/// anybody acts on it. Throws Refused.
class Cursor {
 public:
  explicit Cursor(std::span<const std::byte> bytes) noexcept : bytes_(bytes) {}

  [[nodiscard]] std::size_t position() const noexcept { return position_; }

  /// Where the next operation begins. A frame that is used up has ended: what follows lies outside, or in a frame of
  /// its own.
  std::size_t begin_item() noexcept {
    if (position_ == frame_end_) frame_end_ = 0;
    return position_;
  }
  [[nodiscard]] std::span<const std::byte> take(std::uint64_t count) {
    const std::size_t end = frame_end_ != 0 ? frame_end_ : bytes_.size();
    if (count > end - position_) {
      const std::uint64_t missing = count - (end - position_);
      throw Refused((frame_end_ != 0 ? "its frame ends " : "the stream ends ") + std::to_string(missing) +
                    (missing == 1 ? " byte" : " bytes") + " too early");
    }
    const auto taken = bytes_.subspan(position_, static_cast<std::size_t>(count));
    position_ += taken.size();
    return taken;
  }
  [[nodiscard]] std::string_view take_text(std::uint64_t count) {
    const auto taken = take(count);
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }
  /// An unsigned number of `sizeof(T)` bytes, least significant first.
  template <class T>
  [[nodiscard]] T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  /// Up to the next newline, which is taken but not returned.
  [[nodiscard]] std::string_view line() {
    const std::size_t end = frame_end_ != 0 ? frame_end_ : bytes_.size();
    const auto* const start = reinterpret_cast<const char*>(bytes_.data()) + position_;
    const auto length = std::string_view(start, end - position_).find('\n');
    if (length == std::string_view::npos) throw Refused("a line that does not end");
    return take_text(length + 1).substr(0, length);
  }
  /// The next `length` bytes are one frame: no item may cross its end.
  void enter_frame(std::uint64_t length) {
    if (position_ < frame_end_) throw Refused("a frame within a frame");
    if (length > bytes_.size() - position_) throw Refused("a frame longer than the stream");
    frame_end_ = length != 0 ? position_ + static_cast<std::size_t>(length) : 0;
  }

 private:
  std::span<const std::byte> bytes_;
  std::size_t position_ = 0;
  std::size_t frame_end_ = 0;  // 0: outside of frames
};

}  // namespace runrig::pickle::detail
