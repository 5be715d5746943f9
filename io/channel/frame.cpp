#include "frame.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <string>

#include "runrig/sync/error.hpp"

namespace runrig::detail {
namespace {

constexpr std::uint64_t longest_short_body = std::numeric_limits<std::int32_t>::max();
constexpr std::size_t short_head_bytes = 4;
static_assert(std::endian::native == std::endian::little);

}  // namespace

FrameHead::FrameHead(std::uint64_t body_bytes) noexcept
    : size_(body_bytes <= longest_short_body ? short_head_bytes : bytes_.size()) {
  const std::uint32_t head = __builtin_bswap32(size_ == short_head_bytes ? static_cast<std::uint32_t>(body_bytes)
                                                                         : std::numeric_limits<std::uint32_t>::max());
  std::memcpy(bytes_.data(), &head, sizeof head);
  const std::uint64_t whole = __builtin_bswap64(body_bytes);
  if (size_ > short_head_bytes) std::memcpy(bytes_.data() + short_head_bytes, &whole, sizeof whole);
}

void FrameHeadReader::took(std::size_t bytes, std::string_view source) {
  filled_ += bytes;
  if (filled_ != wanted_) return;
  if (wanted_ == short_head_bytes) {
    std::uint32_t head = 0;
    std::memcpy(&head, bytes_.data(), sizeof head);
    const auto length = std::bit_cast<std::int32_t>(__builtin_bswap32(head));
    if (length < -1) throw FormatError("receive from", source, "a message of " + std::to_string(length) + " bytes");
    if (length == -1) {
      wanted_ = bytes_.size();
    } else {
      body_bytes_ = static_cast<std::uint64_t>(length);
    }
  } else {
    std::memcpy(&body_bytes_, bytes_.data() + short_head_bytes, sizeof body_bytes_);
    body_bytes_ = __builtin_bswap64(body_bytes_);
  }
}

void check_frame_length(std::uint64_t body_bytes, std::size_t max_bytes, std::string_view source) {
  if (body_bytes <= max_bytes) return;
  throw Error(std::errc::message_size,
              "receive a message of " + std::to_string(body_bytes) + " bytes (more than the limit of " +
                  std::to_string(max_bytes) + ") from",
              source);
}

}  // namespace runrig::detail
