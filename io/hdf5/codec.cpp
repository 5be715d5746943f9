#include "runrig/hdf5/codec.hpp"

#include <libdeflate.h>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>

#include "block_codec.hpp"
#include "filters.hpp"
#include "fletcher32.hpp"
#include "lzf.hpp"
#include "runrig/sync/error.hpp"
#include "shuffle.hpp"

namespace runrig::hdf5 {
namespace {

using Decompressor = std::unique_ptr<libdeflate_decompressor, decltype(&libdeflate_free_decompressor)>;

bool is_compressor(const FilterInfo& filter) {
  return filter.id == H5Z_FILTER_DEFLATE || filter.id == detail::lzf_id || detail::is_block_compressor(filter);
}

[[noreturn]] void damaged(std::string_view name, const std::string& why) { throw FormatError("read chunk", name, why); }

}  // namespace

bool is_native_pipeline(std::span<const FilterInfo> filters) noexcept {
  const bool known = std::ranges::all_of(filters, [](const FilterInfo& filter) {
    return is_compressor(filter) || filter.id == H5Z_FILTER_SHUFFLE || filter.id == H5Z_FILTER_FLETCHER32 ||
           detail::is_block_codec(filter.id);
  });
  // Behind two compressors the size between them is unknown, so nothing could be checked or bounded.
  return known && filters.size() <= 32 && std::ranges::count_if(filters, is_compressor) <= 1;
}

struct ChunkDecoder::State {
  std::vector<FilterInfo> filters;
  std::size_t item_bytes;
  Decompressor decompressor;
  std::vector<std::byte> scratch[2];

  /// Bytes that enter filter `position` when a chunk of `chunk_bytes` is encoded; none if a compressor comes before it.
  [[nodiscard]] std::optional<std::size_t> bytes_before(std::size_t position, std::uint32_t mask,
                                                        std::size_t chunk_bytes) const {
    std::size_t bytes = chunk_bytes;
    for (std::size_t i = 0; i < position; ++i) {
      if ((mask & (1U << i)) != 0) continue;
      if (is_compressor(filters[i])) return {};
      if (filters[i].id == H5Z_FILTER_FLETCHER32) bytes += 4;
    }
    return bytes;
  }

  /// Where the output of the step goes: to the chunk itself if this is the last, else to the scratch that `in` is not.
  std::span<std::byte> target(std::span<const std::byte> in, std::size_t bytes, bool last, std::span<std::byte> out) {
    if (last) return out;
    std::vector<std::byte>& buffer = scratch[0].data() == in.data() ? scratch[1] : scratch[0];
    if (buffer.size() < bytes) buffer.resize(bytes);
    return std::span(buffer).first(bytes);
  }

  void decompress(const FilterInfo& filter, std::span<const std::byte> in, std::span<std::byte> out,
                  std::string_view name) {
    if (filter.id == detail::lzf_id) {
      if (detail::lzf_decode(in, out) != out.size()) damaged(name, "its lzf data is damaged");
      return;
    }
    if (detail::is_block_codec(filter.id)) {
      if (!detail::block_decode(filter, item_bytes, in, out)) damaged(name, "its " + filter.name + " data is damaged");
      return;
    }
    // No deflate stream expands more than 1032 times. Checked before the output's pages are touched.
    if (in.size() < out.size() / 1040) damaged(name, "its deflate data is damaged: cut off");
    // Without a place for the actual size the output must come out exact.
    switch (libdeflate_zlib_decompress(decompressor.get(), in.data(), in.size(), out.data(), out.size(), nullptr)) {
      case LIBDEFLATE_SUCCESS:
        return;
      case LIBDEFLATE_SHORT_OUTPUT:
        damaged(name, "its deflate data is damaged: shorter than the chunk");
      case LIBDEFLATE_INSUFFICIENT_SPACE:
        damaged(name, "its deflate data is damaged: longer than the chunk");
      case LIBDEFLATE_BAD_DATA:
        break;
    }
    damaged(name, "its deflate data is damaged");
  }
};

ChunkDecoder::ChunkDecoder(std::vector<FilterInfo> filters, std::size_t item_bytes) {
  if (!is_native_pipeline(filters)) throw std::logic_error("ChunkDecoder does not know all of these filters");
  state_ = std::make_unique<State>(
      State{std::move(filters), item_bytes, {libdeflate_alloc_decompressor(), &libdeflate_free_decompressor}, {}});
  if (!state_->decompressor) throw std::bad_alloc();
}
ChunkDecoder::ChunkDecoder(ChunkDecoder&&) noexcept = default;
ChunkDecoder& ChunkDecoder::operator=(ChunkDecoder&&) noexcept = default;
ChunkDecoder::~ChunkDecoder() = default;

void ChunkDecoder::decode(std::span<std::byte> stored, std::uint32_t filter_mask, std::span<std::byte> out,
                          std::string_view name) {
  State& state = *state_;
  const auto applied = [&](std::size_t i) { return (filter_mask & (1U << i)) == 0; };
  // fletcher32 works in place; the first of the others, in the order of writing, produces the chunk.
  std::size_t last = 0;
  while (last < state.filters.size() && (!applied(last) || state.filters[last].id == H5Z_FILTER_FLETCHER32)) ++last;

  std::span<std::byte> data = stored;
  for (std::size_t i = state.filters.size(); i-- > 0;) {
    const FilterInfo& filter = state.filters[i];
    if (!applied(i)) continue;
    if (filter.id == H5Z_FILTER_FLETCHER32) {
      if (data.size() < 4) damaged(name, "too short for its checksum");
      const auto sum_at = data.last(4);
      std::uint32_t expected = 0;
      for (std::size_t k = 0; k < 4; ++k) expected |= std::to_integer<std::uint32_t>(sum_at[k]) << (8 * k);
      data = data.first(data.size() - 4);
      const std::uint32_t sum = detail::fletcher32(data);
      if (sum != expected && detail::fletcher32_of_old_writers(sum) != expected) {
        damaged(name, "its fletcher32 checksum does not match: the data is damaged");
      }
      continue;
    }
    // There is one compressor at most, so what it makes is known; others keep the size.
    const std::size_t bytes = state.bytes_before(i, filter_mask, out.size()).value_or(data.size());
    const bool compressor = is_compressor(filter);
    if (!compressor && data.size() != bytes) {
      damaged(name, std::to_string(data.size()) + " bytes are stored instead of " + std::to_string(bytes));
    }
    const std::span<std::byte> target = state.target(data, bytes, i == last && bytes == out.size(), out);
    if (compressor || detail::is_block_codec(filter.id)) {
      state.decompress(filter, data, target, name);
    } else {
      const std::size_t item = filter.parameters.empty() ? state.item_bytes : filter.parameters[0];
      if (item == 0) damaged(name, "its shuffle filter has items of 0 bytes");
      detail::unshuffle(data, target, item);
    }
    data = target;
  }
  if (data.size() != out.size()) {
    damaged(name, std::to_string(data.size()) + " bytes are stored instead of " + std::to_string(out.size()));
  }
  if (data.data() != out.data()) std::ranges::copy(data, out.begin());
}

}  // namespace runrig::hdf5
