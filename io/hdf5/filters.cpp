#include "filters.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <initializer_list>
#include <limits>
#include <new>
#include <optional>
#include <stdexcept>
#include <string_view>

#include "block_codec.hpp"
#include "library.hpp"
#include "lzf.hpp"
#include "runrig/hdf5/codec.hpp"

namespace runrig::hdf5 {
namespace detail {
namespace {

// Of the registry of the HDF Group, what is met in files of the sciences.
struct KnownFilter {
  int id;
  std::string_view name;
};
constexpr std::array known_filters{
    KnownFilter{H5Z_FILTER_DEFLATE, "deflate"},
    KnownFilter{H5Z_FILTER_SHUFFLE, "shuffle"},
    KnownFilter{H5Z_FILTER_FLETCHER32, "fletcher32"},
    KnownFilter{H5Z_FILTER_SZIP, "szip"},
    KnownFilter{H5Z_FILTER_NBIT, "nbit"},
    KnownFilter{H5Z_FILTER_SCALEOFFSET, "scaleoffset"},
    KnownFilter{305, "lzo"},
    KnownFilter{307, "bzip2"},
    KnownFilter{lzf_id, "lzf"},
    KnownFilter{blosc_id, "blosc"},
    KnownFilter{32002, "mafisc"},
    KnownFilter{32003, "snappy"},
    KnownFilter{lz4_id, "lz4"},
    KnownFilter{bitshuffle_id, "bitshuffle"},
    KnownFilter{32013, "zfp"},
    KnownFilter{32014, "fpzip"},
    KnownFilter{zstd_id, "zstd"},
    KnownFilter{32017, "sz"},
    KnownFilter{32018, "fcidecomp"},
    KnownFilter{32019, "jpeg"},
    KnownFilter{32022, "granular-bitround"},
    KnownFilter{32024, "sz3"},
    KnownFilter{32026, "blosc2"},
};

// NOLINTBEGIN(cppcoreguidelines-no-malloc): not ours to choose: the library frees what a filter returns with free().
extern "C" std::size_t lzf_filter_call(unsigned flags, std::size_t parameter_count, const unsigned parameters[],
                                       std::size_t bytes, std::size_t* buffer_bytes, void** buffer) {
  const bool decode = (flags & H5Z_FLAG_REVERSE) != 0;
  // h5py stores the chunk's size as third parameter: the output of decoding is never more.
  const std::size_t room = decode ? (parameter_count >= 3 ? parameters[2] : 0) : bytes;
  if (room == 0 || room > std::numeric_limits<std::uint32_t>::max()) return 0;
  void* out = std::malloc(room);
  if (out == nullptr) return 0;
  const std::span source(static_cast<const std::byte*>(*buffer), bytes);
  const std::span target(static_cast<std::byte*>(out), room);
  // Encoding that does not shrink fails, and the library then stores the chunk without this (optional) filter.
  const std::size_t made = decode ? lzf_decode(source, target) : lzf_encode(source, target.first(room - 1));
  if (made == 0) {
    std::free(out);
    return 0;
  }
  std::free(*buffer);
  *buffer = out;
  *buffer_bytes = room;
  return made;
}

/// The bytes of a chunk, as a property list and a type have it; 0 if it has no chunks or they are too large.
unsigned chunk_bytes_of(hid_t properties, hid_t type) {
  hsize_t chunk[H5S_MAX_RANK];
  const int rank = H5Pget_chunk(properties, H5S_MAX_RANK, chunk);
  std::uint64_t bytes = rank < 0 ? 0 : H5Tget_size(type);
  for (int axis = 0; axis < rank; ++axis) {
    if (__builtin_mul_overflow(bytes, chunk[axis], &bytes)) return 0;
  }
  return bytes > std::numeric_limits<unsigned>::max() ? 0 : static_cast<unsigned>(bytes);
}

extern "C" herr_t lzf_set_local(hid_t properties, hid_t type, hid_t) {
  const unsigned bytes = chunk_bytes_of(properties, type);
  if (bytes == 0) return -1;
  const std::array<unsigned, 3> parameters = lzf_parameters(bytes);
  return H5Pmodify_filter(properties, lzf_id, H5Z_FLAG_OPTIONAL, parameters.size(), parameters.data());
}

template <int id>
FilterInfo block_filter(std::size_t parameter_count, const unsigned parameters[]) {
  FilterInfo filter;
  filter.id = id;
  filter.parameters.assign(parameters, parameters + parameter_count);
  return filter;
}

// As above. These do not throw but when memory ends.
template <int id>
std::size_t block_filter_call(unsigned flags, std::size_t parameter_count, const unsigned parameters[],
                              std::size_t bytes, std::size_t* buffer_bytes, void** buffer) {
  constexpr std::size_t most = std::size_t{4} << 30;  // HDF5 has no larger chunks
  try {
    const FilterInfo filter = block_filter<id>(parameter_count, parameters);
    const bool decode = (flags & H5Z_FLAG_REVERSE) != 0;
    const std::span source(static_cast<const std::byte*>(*buffer), bytes);
    const std::size_t room = decode ? block_decoded_bytes(filter, source).value_or(0) : bytes;
    if (room == 0 || room > most) return 0;
    const std::size_t item = std::max(parameter_count > 2 ? parameters[2] : 1U, 1U);
    void* out = std::malloc(room);
    if (out == nullptr) return 0;
    const std::span target(static_cast<std::byte*>(out), room);
    const std::size_t fits = is_block_compressor(filter) ? room - 1 : room;
    const std::size_t made = decode ? (block_decode(filter, item, source, target) ? room : 0)
                                    : block_encode(filter, item, source, target.first(fits));
    if (made == 0) {
      std::free(out);
      return 0;
    }
    std::free(*buffer);
    *buffer = out;
    *buffer_bytes = room;
    return made;
  } catch (const std::bad_alloc&) {
    return 0;
  }
}
// NOLINTEND(cppcoreguidelines-no-malloc)

template <int id>
herr_t block_set_local(hid_t properties, hid_t type, hid_t) {
  std::array<unsigned, 32> stored{};
  std::size_t count = stored.size();
  unsigned flags = 0;
  if (H5Pget_filter_by_id2(properties, id, &flags, &count, stored.data(), 0, nullptr, nullptr) < 0) return -1;
  const auto parameters = block_parameters(block_filter<id>(std::min(count, stored.size()), stored.data()),
                                           H5Tget_size(type), chunk_bytes_of(properties, type));
  return H5Pmodify_filter(properties, id, flags, parameters.size(), parameters.data());
}

template <int id>
void register_block_codec(const char* name) {
  const H5Z_class2_t filter{H5Z_CLASS_T_VERS, id, 1, 1, name, nullptr, block_set_local<id>, block_filter_call<id>};
  check(H5Zregister(&filter), "register the filter", name);
}

}  // namespace

void register_codecs() {
  const H5Z_class2_t filter{H5Z_CLASS_T_VERS, lzf_id, 1, 1, "lzf", nullptr, lzf_set_local, lzf_filter_call};
  check(H5Zregister(&filter), "register the filter", "lzf");
  register_block_codec<blosc_id>("blosc");
  register_block_codec<lz4_id>("lz4");
  register_block_codec<bitshuffle_id>("bitshuffle");
  register_block_codec<zstd_id>("zstd");
}

std::string filter_name(int id, const std::vector<unsigned>& parameters, std::string_view stored) {
  for (const KnownFilter& known : known_filters) {
    if (known.id != id) continue;
    std::string name(known.name);
    if (id == H5Z_FILTER_DEFLATE && !parameters.empty()) name += "-" + std::to_string(parameters[0]);
    return name;
  }
  std::string name = "filter " + std::to_string(id);
  if (!stored.empty()) name += " (" + printable(stored, 60) + ")";
  return name;
}

std::vector<FilterInfo> read_filters(hid_t properties, std::string_view name) {
  const int count = check(H5Pget_nfilters(properties), "read filters of", name);
  std::vector<FilterInfo> filters;
  for (int i = 0; i < count; ++i) {
    FilterInfo filter;
    std::array<char, 256> stored{};
    std::size_t parameter_count = 0;
    // Asked twice: first for the number of parameters, which a file may claim to be large.
    check(H5Pget_filter2(properties, static_cast<unsigned>(i), &filter.flags, &parameter_count, nullptr, 0, nullptr,
                         nullptr),
          "read filters of", name);
    if (parameter_count > 4096) {
      throw FormatError("read filters of", name, "a filter with " + std::to_string(parameter_count) + " parameters");
    }
    filter.parameters.resize(parameter_count);
    filter.id = check(H5Pget_filter2(properties, static_cast<unsigned>(i), &filter.flags, &parameter_count,
                                     filter.parameters.data(), stored.size() - 1, stored.data(), nullptr),
                      "read filters of", name);
    filter.parameters.resize(std::min(parameter_count, filter.parameters.size()));
    filter.name = filter_name(filter.id, filter.parameters, stored.data());
    filter.available = H5Zfilter_avail(filter.id) > 0;
    unsigned ability = 0;
    filter.encodable = filter.available && H5Zget_filter_info(filter.id, &ability) >= 0 &&
                       (ability & H5Z_FILTER_CONFIG_ENCODE_ENABLED) != 0;
    H5Eclear2(H5E_DEFAULT);  // a failing search for plugins is an answer, not an error
    filters.push_back(std::move(filter));
  }
  return filters;
}

}  // namespace detail

std::string_view layout_name(Layout layout) noexcept {
  switch (layout) {
    case Layout::compact:
      return "compact";
    case Layout::contiguous:
      return "contiguous";
    case Layout::chunked:
      return "chunked";
    case Layout::virtual_sources:
      return "virtual";
    case Layout::external_files:
      break;
  }
  return "external";
}

FilterInfo shuffle_filter() { return {H5Z_FILTER_SHUFFLE, H5Z_FLAG_OPTIONAL, {}, "shuffle", true, true}; }

FilterInfo deflate_filter(unsigned level) {
  if (level > 9) throw std::logic_error("deflate has levels 0 to 9");
  return {H5Z_FILTER_DEFLATE, H5Z_FLAG_OPTIONAL, {level}, "deflate-" + std::to_string(level), true, true};
}

FilterInfo deflate_fast_filter() {
  FilterInfo filter = deflate_filter(1);
  filter.fast = true;
  return filter;
}

FilterInfo fletcher32_filter() { return {H5Z_FILTER_FLETCHER32, H5Z_FLAG_MANDATORY, {}, "fletcher32", true, true}; }

FilterInfo lzf_filter() { return {detail::lzf_id, H5Z_FLAG_OPTIONAL, {}, "lzf", true, true}; }

namespace {

constexpr std::string_view known_words =
    "known are shuffle, deflate:0 to deflate:9, deflate:fast, lzf, zstd:1 to zstd:22, lz4, bitshuffle, "
    "bitshuffle:zstd, bitshuffle:none, blosc:lz4 (or blosclz, lz4hc, zlib, zstd), fletcher32 and none";

FilterInfo block_filter(int id, std::string name, std::vector<unsigned> parameters) {
  return {id, H5Z_FLAG_OPTIONAL, std::move(parameters), std::move(name), true, true};
}

/// zstd[:LEVEL], lz4, bitshuffle[:lz4|zstd|none], blosc[:COMPRESSOR]; none for other words.
std::optional<FilterInfo> parse_block_filter(std::string_view part) {
  const std::size_t colon = part.find(':');
  const std::string_view name = part.substr(0, colon);
  const std::string_view option = colon == std::string_view::npos ? std::string_view() : part.substr(colon + 1);
  const auto one_of = [&](std::initializer_list<std::string_view> words) {
    const auto at = std::ranges::find(words, option);
    return at == words.end() ? std::optional<unsigned>() : static_cast<unsigned>(at - words.begin());
  };
  if (name == "lz4" && colon == std::string_view::npos) return block_filter(detail::lz4_id, "lz4", {});
  if (name == "zstd") {
    unsigned level = 3;
    const auto [stop, error] = std::from_chars(option.data(), option.data() + option.size(), level);
    const bool whole = error == std::errc{} && stop == option.data() + option.size();
    if (colon != std::string_view::npos && (!whole || level < 1 || level > 22)) return std::nullopt;
    return block_filter(detail::zstd_id, "zstd", {level});
  }
  if (name == "bitshuffle") {
    if (colon == std::string_view::npos) return block_filter(detail::bitshuffle_id, "bitshuffle", {0, 4, 0, 0, 2});
    const auto compressor = one_of({"none", "", "lz4", "zstd"});  // by their numbers; there is no 1
    if (!compressor || *compressor == 1) return std::nullopt;
    return block_filter(detail::bitshuffle_id, "bitshuffle", {0, 4, 0, 0, *compressor});
  }
  if (name == "blosc") {
    const auto compressor = one_of({"blosclz", "lz4", "lz4hc", "snappy", "zlib", "zstd"});
    if (colon != std::string_view::npos && (!compressor || *compressor == 3)) return std::nullopt;  // Debian: no snappy
    return block_filter(detail::blosc_id, "blosc", {2, 2, 0, 0, 5, 1, compressor.value_or(1)});
  }
  return std::nullopt;
}

}  // namespace

std::vector<FilterInfo> parse_filters(std::string_view text) {
  std::vector<FilterInfo> filters;
  if (text.empty() || text == "none") return filters;
  while (true) {
    const std::size_t comma = text.find(',');
    const std::string_view part = text.substr(0, comma);
    if (part == "shuffle") {
      filters.push_back(shuffle_filter());
    } else if (part == "fletcher32") {
      filters.push_back(fletcher32_filter());
    } else if (part == "lzf") {
      filters.push_back(lzf_filter());
    } else if (part == "deflate" || part == "gzip") {
      filters.push_back(deflate_filter(4));
    } else if (part == "deflate:fast") {
      filters.push_back(deflate_fast_filter());
    } else if (part.size() == 9 && part.starts_with("deflate") && (part[7] == ':' || part[7] == '-') &&
               part[8] >= '0' && part[8] <= '9') {
      filters.push_back(deflate_filter(static_cast<unsigned>(part[8] - '0')));
    } else if (auto block = parse_block_filter(part)) {
      filters.push_back(std::move(*block));
    } else {
      throw FormatError("use the filter", part, known_words);
    }
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  if (!is_native_pipeline(filters)) {
    throw FormatError("use the filters", text, "one compressor at most");
  }
  return filters;
}

}  // namespace runrig::hdf5
