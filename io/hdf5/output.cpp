#include "runrig/hdf5/output.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>

#include "block_codec.hpp"
#include "file_state.hpp"
#include "filters.hpp"
#include "output_state.hpp"

namespace runrig::hdf5 {
namespace {

using detail::check;
using detail::checked;
using detail::Id;

constexpr std::string_view attempt = "create dataset";
constexpr std::size_t early_bytes = std::size_t{32} << 20;

Id creation_properties(const OutputSpec& spec, hid_t type, const std::string& name) {
  Id properties = detail::ordered_creation(H5P_DATASET_CREATE);
  const bool scalar = spec.null_space || spec.shape.rank() == 0;
  if (spec.chunk.rank() > 0 && !scalar) {
    check(
        H5Pset_chunk(properties.get(), static_cast<int>(spec.chunk.rank()), detail::to_coordinates(spec.chunk).data()),
        attempt, name);
    for (const FilterInfo& filter : spec.filters) detail::add_filter(properties.get(), filter, name);
  } else {
    // Room at once, but no fill values in it: others write every element after us.
    check(H5Pset_alloc_time(properties.get(), H5D_ALLOC_TIME_EARLY), attempt, name);
    check(H5Pset_fill_time(properties.get(), H5D_FILL_TIME_NEVER), attempt, name);
  }
  if (spec.fill) {
    if (spec.fill->size() != item_bytes(spec.dtype)) throw std::logic_error("OutputSpec: a fill value of another size");
    const Id memory = spec.dtype == DType::boolean ? Id(H5Tcopy(type)) : detail::memory_type(spec.dtype);
    check(H5Pset_fill_value(properties.get(), memory.get(), spec.fill->data()), attempt, name);
  }
  return properties;
}

Id make_space(const OutputSpec& spec, const std::string& name) {
  if (spec.null_space) return checked(H5Screate(H5S_NULL), attempt, name);
  if (spec.shape.rank() == 0) return checked(H5Screate(H5S_SCALAR), attempt, name);
  const Shape& most = spec.maxshape.rank() == 0 ? spec.shape : spec.maxshape;
  if (most.rank() != spec.shape.rank() || (spec.chunk.rank() != 0 && spec.chunk.rank() != spec.shape.rank())) {
    throw std::logic_error("OutputSpec: shape, maxshape and chunk have different numbers of axes");
  }
  return checked(H5Screate_simple(static_cast<int>(spec.shape.rank()), detail::to_coordinates(spec.shape).data(),
                                  detail::to_coordinates(most).data()),
                 attempt, name);
}

bool is_nan(DType dtype, std::span<const std::byte> element) {
  return visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
    T value;
    std::memcpy(&value, element.data(), sizeof value);
    return !(value == value);  // NOLINT(misc-redundant-expression): which tells NaN
  });
}

/// netCDF's attribute for the fill value: one element of the dataset's type.
void mark_fill(hid_t dataset, hid_t type, const OutputSpec& spec, const std::string& name) {
  const hsize_t one = 1;
  const Id space = checked(H5Screate_simple(1, &one, nullptr), attempt, name);
  const Id attribute =
      checked(H5Acreate2(dataset, "_FillValue", type, space.get(), H5P_DEFAULT, H5P_DEFAULT), attempt, name);
  check(H5Awrite(attribute.get(), detail::memory_type(spec.dtype).get(), spec.fill->data()), attempt, name);
}

}  // namespace

namespace detail {

void add_filter(hid_t properties, const FilterInfo& filter, const std::string& name) {
  const auto parameter = [&](std::size_t i) { return i < filter.parameters.size() ? filter.parameters[i] : 0; };
  herr_t result = -1;
  switch (filter.id) {
    case H5Z_FILTER_SHUFFLE:
      result = H5Pset_shuffle(properties);
      break;
    case H5Z_FILTER_DEFLATE:
      result = H5Pset_deflate(properties, parameter(0));
      break;
    case H5Z_FILTER_FLETCHER32:
      result = H5Pset_fletcher32(properties);
      break;
    case H5Z_FILTER_NBIT:
      result = H5Pset_nbit(properties);
      break;
    case H5Z_FILTER_SCALEOFFSET:
      result = H5Pset_scaleoffset(properties, static_cast<H5Z_SO_scale_type_t>(parameter(0)),
                                  static_cast<int>(parameter(1)));
      break;
    case H5Z_FILTER_SZIP:
      result = H5Pset_szip(properties, parameter(0) & (H5_SZIP_EC_OPTION_MASK | H5_SZIP_NN_OPTION_MASK), parameter(1));
      break;
    case lzf_id:
      result = H5Pset_filter(properties, filter.id, H5Z_FLAG_OPTIONAL, 0, nullptr);
      break;
    default:
      if (!is_block_codec(filter.id)) throw FormatError(attempt, name, "cannot write with the filter " + filter.name);
      // Completed when the dataset is made, by what type and chunks it has.
      result = H5Pset_filter(properties, static_cast<H5Z_filter_t>(filter.id), H5Z_FLAG_OPTIONAL,
                             filter.parameters.size(), filter.parameters.data());
  }
  check(result, attempt, name);
}

Id ordered_creation(hid_t kind) {
  Id properties = checked(H5Pcreate(kind), "create", "properties");
  check(H5Pset_attr_creation_order(properties.get(), H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED), "create",
        "properties");
  return properties;
}

Id intermediate_groups() {
  Id properties = checked(H5Pcreate(H5P_LINK_CREATE), "create", "properties");
  check(H5Pset_create_intermediate_group(properties.get(), 1), "create", "properties");
  return properties;
}

}  // namespace detail

OutputFile::State::~State() {
  scales.clear();
  datasets.clear();
  if (file) H5Fclose(file.release());  // flushes if it is the last; what it thinks of it no longer matters
  H5Eclear2(H5E_DEFAULT);
}

OutputFile::State::OpenDataset& OutputFile::State::dataset(const std::string& name) {
  const auto found = datasets.find(name);
  if (found == datasets.end()) throw std::logic_error("OutputFile: dataset " + name + " was not created");
  return found->second;
}

std::string OutputFile::State::name_of(const std::string& object) const {
  return detail::printable(path, 1000) + ":" + detail::printable(object, 1000);
}

OutputFile::OutputFile(std::unique_ptr<State> state) : state_(std::move(state)) {}
OutputFile::OutputFile(OutputFile&&) noexcept = default;
OutputFile& OutputFile::operator=(OutputFile&&) noexcept = default;
OutputFile::~OutputFile() = default;

void OutputFile::State::put(std::span<const std::byte> bytes, std::uint64_t at) {
  if (memory) return memory->put(bytes, static_cast<std::size_t>(at));
  while (!bytes.empty()) {
    const auto written = check_errno(
        retry_on_eintr([&] { return ::pwrite(fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(at)); }), "write",
        path);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    at += static_cast<std::uint64_t>(written);
  }
}

void OutputFile::State::write_memory() {
  const detail::MemoryFile made = std::move(*memory);
  memory.reset();
  put(made.bytes, 0);
  if (made.file_bytes > made.bytes.size()) {
    check_errno(::ftruncate(fd.get(), static_cast<off_t>(made.file_bytes)), "write", path);
  }
}

OutputFile OutputFile::create(const std::string& path, Place place) {
  detail::start_library();
  return create_with(path, H5P_DEFAULT, H5P_DEFAULT, place);
}

OutputFile OutputFile::create_with(const std::string& path, hid_t creation, hid_t access, Place place) {
  auto state = std::make_unique<State>();
  state->path = path;
  // Made here, not by the library, whose errors have no errno.
  state->fd = UniqueFd(
      check_errno(retry_on_eintr([&] { return ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666); }),
                  "create", path));
  Id memory_access;
  if (place == Place::memory) memory_access = detail::in_memory(access, state->memory.emplace());
  state->file = checked(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation, memory_access ? memory_access.get() : access),
                        "create", path);
  return OutputFile(std::move(state));
}

std::optional<std::uint64_t> OutputFile::create_dataset(const std::string& path, const OutputSpec& spec) {
  const std::string name = state_->name_of(path);
  const Id type = detail::file_type(spec.dtype, spec.big_endian);
  const Id space = make_space(spec, name);
  const Id properties = creation_properties(spec, type.get(), name);
  const Id links = detail::intermediate_groups();
  Id dataset = checked(
      H5Dcreate2(state_->file.get(), path.c_str(), type.get(), space.get(), links.get(), properties.get(), H5P_DEFAULT),
      attempt, name);
  std::optional<std::uint64_t> offset;
  if (H5Pget_layout(properties.get()) == H5D_CONTIGUOUS) {
    const haddr_t address = H5Dget_offset(dataset.get());
    H5Eclear2(H5E_DEFAULT);
    if (address != HADDR_UNDEF) offset = address;
    const bool expected = !spec.null_space && spec.shape.checked_elements() != 0;
    if (expected && !offset) throw FormatError(attempt, name, "the HDF5 library allocated no room for its elements");
  }
  if (spec.marks_missing && spec.fill && is_nan(spec.dtype, *spec.fill))
    mark_fill(dataset.get(), type.get(), spec, name);
  state_->datasets.insert_or_assign(path, State::OpenDataset{std::move(dataset), spec});
  return offset;
}

bool OutputFile::encodes(const std::string& path) const { return state_->dataset(path).spec.library_filters; }

void OutputFile::write_chunk(const std::string& path, const Shape& chunk_start, std::uint32_t filter_mask,
                             std::span<const std::byte> bytes) {
  const State::OpenDataset& dataset = state_->dataset(path);
  if (chunk_start.rank() != dataset.spec.chunk.rank()) {
    throw std::logic_error("OutputFile::write_chunk: the coordinates have another number of axes");
  }
  check(H5Dwrite_chunk(dataset.id.get(), H5P_DEFAULT, filter_mask, detail::to_coordinates(chunk_start).data(),
                       bytes.size(), bytes.data()),
        "write chunk", state_->name_of(path) + " at " + to_string(chunk_start));
  state_->begun_bytes += bytes.size();
  if (state_->begun_bytes < early_bytes || state_->memory) return;
  state_->begun_bytes = 0;
  state_->early_sync.begin(state_->fd.get());
}

void OutputFile::write(const std::string& path, const Box& box, std::span<const std::byte> values) {
  const State::OpenDataset& dataset = state_->dataset(path);
  if (box.start.rank() != dataset.spec.shape.rank() || box.count.rank() != dataset.spec.shape.rank() ||
      box.count.checked_bytes(item_bytes(dataset.spec.dtype)) != values.size()) {
    throw std::logic_error("OutputFile::write: the box does not fit the dataset, or the values the box");
  }
  if (values.empty() || dataset.spec.null_space) return;
  const std::string name = state_->name_of(path);
  const Id memory = dataset.spec.dtype == DType::boolean ? detail::file_type(DType::boolean, false)
                                                         : detail::memory_type(dataset.spec.dtype);
  Id file_space;
  Id memory_space;
  auto file_selection = H5S_ALL;
  auto memory_selection = H5S_ALL;
  if (box.count.rank() > 0) {
    file_space = checked(H5Dget_space(dataset.id.get()), "write", name);
    check(H5Sselect_hyperslab(file_space.get(), H5S_SELECT_SET, detail::to_coordinates(box.start).data(), nullptr,
                              detail::to_coordinates(box.count).data(), nullptr),
          "write", name);
    // Of the same rank as the file's: for others the library maps chunks element by element.
    memory_space =
        checked(H5Screate_simple(static_cast<int>(box.count.rank()), detail::to_coordinates(box.count).data(), nullptr),
                "write", name);
    file_selection = file_space.get();
    memory_selection = memory_space.get();
  }
  check(H5Dwrite(dataset.id.get(), memory.get(), memory_selection, file_selection, H5P_DEFAULT, values.data()), "write",
        name);
}

void OutputFile::copy_attributes(const File& source, const std::string& source_object, const std::string& object,
                                 std::optional<DType> result, std::vector<std::string>& notes) {
  const std::string source_name = detail::object_name(source, source_object);
  const Id from = checked(H5Oopen(source.state().file.get(), source_object.c_str(), H5P_DEFAULT), "open", source_name);
  const Id to = checked(H5Oopen(state_->file.get(), object.c_str(), H5P_DEFAULT), "open", state_->name_of(object));
  const auto made = state_->datasets.find(object);
  std::span<const std::string> dropped;
  if (made != state_->datasets.end()) dropped = made->second.spec.dropped_attributes;
  detail::copy_object_attributes(from.get(), source_name, to.get(), result, dropped, notes);
}

void OutputFile::set_attribute(const std::string& object, const std::string& name, std::string_view text) {
  constexpr std::string_view attempted = "set attribute";
  const std::string whole_name = state_->name_of(object) + " @" + name;
  const Id type = checked(H5Tcopy(H5T_C_S1), attempted, whole_name);
  // Of variable length: h5py gives such as str, others as bytes. But a file that promises netCDF's classic model, which
  // has no such strings, could not be read by its tools any more.
  const bool classic =
      check(H5Aexists_by_name(state_->file.get(), "/", "_nc3_strict", H5P_DEFAULT), attempted, whole_name) > 0;
  check(H5Tset_size(type.get(), classic ? std::max<std::size_t>(text.size(), 1) : H5T_VARIABLE), attempted, whole_name);
  if (classic) check(H5Tset_strpad(type.get(), H5T_STR_NULLPAD), attempted, whole_name);
  check(H5Tset_cset(type.get(), H5T_CSET_UTF8), attempted, whole_name);
  const Id space = checked(H5Screate(H5S_SCALAR), attempted, whole_name);
  const Id owner = checked(H5Oopen(state_->file.get(), object.c_str(), H5P_DEFAULT), attempted, whole_name);
  const Id attribute = checked(H5Acreate2(owner.get(), name.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT),
                               attempted, whole_name);
  const std::string ended(text);
  const char* const value = ended.c_str();
  const void* const written = classic ? static_cast<const void*>(value) : static_cast<const void*>(&value);
  check(H5Awrite(attribute.get(), type.get(), written), attempted, whole_name);
}

void OutputFile::close(Sync sync) {
  for (State::MadeScale& scale : state_->scales) {
    check(H5Dclose(scale.id.release()), "close dataset", state_->name_of(scale.source_path));
  }
  state_->scales.clear();
  for (auto& [path, dataset] : state_->datasets) {
    check(H5Dclose(dataset.id.release()), "close dataset", state_->name_of(path));
  }
  state_->datasets.clear();
  check(H5Fclose(state_->file.release()), "close", state_->path);
  if (state_->memory) state_->write_memory();
  if (const int reason = state_->early_sync.finish(); reason != 0) {
    throw Error(std::error_code(reason, std::system_category()), "sync", state_->path);
  }
  if (sync == Sync::now) check_errno(::fsync(state_->fd.get()), "sync", state_->path);
  check_errno(::close(state_->fd.release()), "close", state_->path);
}

}  // namespace runrig::hdf5
