#pragma once

#include <cstddef>
#include <memory>
#include <span>

namespace runrig::hdf5::detail {

/// Makes zlib streams. Keeps scratch memory; used by one thread at a time.
class Deflater {
 public:
  /// Level 0 to 9: streams that are never more than 2 % larger than zlib's own at that level.
  explicit Deflater(unsigned level);
  /// By ISA-L at its level 1: several times as fast as level 1 here, and no larger than some tenths more.
  struct Fast {};
  explicit Deflater(Fast);
  Deflater(Deflater&&) noexcept;
  Deflater& operator=(Deflater&&) noexcept;
  ~Deflater();

  /// Bytes written to `out`, or 0 if the stream does not fit. The same bytes for the same input, whatever came before.
  [[nodiscard]] std::size_t compress(std::span<const std::byte> in, std::span<std::byte> out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace runrig::hdf5::detail
