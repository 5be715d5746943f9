#include "runrig/batch/arrays.hpp"

#include <algorithm>

#include "encoding.hpp"
#include "file_tasks.hpp"
#include "output_job.hpp"
#include "runrig/engine/expression.hpp"
#include "runrig/engine/parallel_detail.hpp"
#include "runrig/hdf5/codec.hpp"
#include "runrig/sync/error.hpp"
#include "slabs.hpp"

namespace runrig {
namespace batch {
namespace {

struct LookArgument {
  const char* dataset = nullptr;
  hdf5::ReadOptions options;
};

void look_at(SliceContext&, const FileTask& task, const std::byte* bytes) {
  const auto& argument = *reinterpret_cast<const LookArgument*>(bytes);
  task.journal.reset();
  task.journal.act("opening " + std::string(argument.dataset));
  hdf5::Dataset& dataset = OpenFiles::here().dataset(task.path, argument.dataset, argument.options);
  dataset.check_readable();
  task.journal.append(encode(dataset.info()));
}

hdf5::DatasetInfo look(Session::State& state, const std::string& file, const std::string& dataset) {
  ArenaWriter memory(*state.arena, sizeof(LookArgument) + dataset.size() + 64);
  auto* argument = memory.add<LookArgument>(1);
  argument->dataset = memory.add(dataset);
  argument->options.force_library = state.options.force_library;
  argument->options.conventions = state.options.conventions;
  argument->options.max_chunk_bytes = state.memory_bytes;
  hdf5::DatasetInfo info;
  for_each_file(state, {file}, &look_at, reinterpret_cast<const std::byte*>(argument), [&](FileResult result) {
    if (!result.failure.empty())
      throw FormatError("read", file + ":" + dataset, make_failure(file, dataset, result.failure).error);
    if (result.records.size() != 1) throw FormatError("read the report of", "a worker", "it is not one record");
    info = decode_dataset(result.records[0]);
  });
  return info;
}

// Reads one box of the source into its place in the array.
struct ReadJob {
  const Source* source;
  const hdf5::Box* boxes;
  const ArrayHandle* array;
  std::size_t data_bytes;
  std::atomic<std::uint64_t>* bytes_done;

  void operator()(SliceContext& context) const {
    const auto memory = runrig::detail::map_in_worker(context, array->segment, Access::read_write);
    const AnyArrayRef target = bind_array(*array, memory, Access::read_write);
    const MemoryFence fence(data_bytes);
    const hdf5::Box& box = boxes[context.slice()];
    const auto item = static_cast<std::ptrdiff_t>(item_bytes(target.dtype));
    std::vector<std::ptrdiff_t> strides(box.start.rank());
    std::ptrdiff_t offset = 0;
    for (std::size_t axis = 0; axis < strides.size(); ++axis) {
      strides[axis] = item * target.strides[axis];
      offset += strides[axis] * static_cast<std::ptrdiff_t>(box.start[axis]);
    }
    try {
      OpenFiles::here().dataset(*source).read(source->selection, box, target.data + offset, strides);
    } catch (...) {
      context.retire();
      throw;
    }
    // Relaxed: a number to show, nothing hangs on it.
    bytes_done->fetch_add(box.count.elements() * static_cast<std::uint64_t>(item), std::memory_order_relaxed);
  }
};

void read_into(Session::State& state, const std::string& file, const std::string& dataset,
               const hdf5::DatasetInfo& info, const hdf5::Selection& selection, const ArrayHandle& array) {
  constexpr std::uint64_t box_bytes = std::uint64_t{1} << 20;
  constexpr std::uint64_t wave_bytes = std::uint64_t{1} << 30;
  const std::uint64_t chunk_bytes = std::min<std::uint64_t>(
      info.chunk.checked_bytes(item_bytes(info.type.dtype)).value_or(SIZE_MAX), state.memory_bytes);
  for (const hdf5::Box& region : hdf5::aligned_boxes(info, selection, wave_bytes)) {
    auto boxes = hdf5::aligned_boxes(info, part_of(selection, region), box_bytes);
    ArenaWriter memory(*state.arena, boxes.size() * sizeof(hdf5::Box) + sizeof(Source) + sizeof(ArrayHandle) +
                                         file.size() + dataset.size() + 256);
    auto* source = memory.add<Source>(1);
    source->file = memory.add(file);
    source->dataset = memory.add(dataset);
    source->selection = selection;
    source->max_chunk_bytes = state.memory_bytes;
    source->cache_bytes =
        std::min(std::size_t{16} << 20, state.memory_bytes / (static_cast<std::size_t>(state.readers.size()) * 8));
    source->force_library = state.options.force_library;
    source->conventions = state.options.conventions;
    auto* places = memory.add<hdf5::Box>(boxes.size());
    for (std::size_t i = 0; i < boxes.size(); ++i) {
      for (std::size_t axis = 0; axis < region.start.rank(); ++axis) boxes[i].start[axis] += region.start[axis];
      places[i] = boxes[i];
    }
    auto* handle = memory.add<ArrayHandle>(1);
    *handle = array;
    const ReadJob job{source, places, handle,
                      (std::size_t{256} << 20) + source->cache_bytes + 4 * static_cast<std::size_t>(chunk_bytes),
                      &state.bytes_done()};
    Launch launch = state.readers.launch(
        state.launch_options(static_cast<std::uint32_t>(boxes.size()), std::max(box_bytes, chunk_bytes)), job);
    state.wait(launch);
    check_launch(launch, "reading " + dataset);
  }
}

}  // namespace
}  // namespace batch

namespace {

struct Reading {
  std::string file;
  std::string path;
  hdf5::DatasetInfo info;
  hdf5::Selection selection;
};

Reading plan_reading(batch::Session::State& state, const std::string& file, std::string_view dataset) {
  const auto ref = hdf5::parse_dataset_ref(dataset);
  if (ref.file) throw FormatError("use the dataset", dataset, "name the file by itself");
  Reading reading{file, ref.path, batch::look(state, file, ref.path), {}};
  reading.selection = hdf5::resolve(ref.selection, reading.info.shape, file + ":" + ref.path);
  return reading;
}

void read_planned(batch::Session::State& state, const Reading& reading, const ArrayHandle& array) {
  try {
    batch::read_into(state, reading.file, reading.path, reading.info, reading.selection, array);
  } catch (const batch::TaskError& error) {
    throw FormatError("read", reading.file + ":" + reading.path,
                      batch::make_failure(reading.file, reading.path, error.what()).error);
  }
}

}  // namespace

AnyArray read_any_array(batch::Session& session, const std::string& file, std::string_view dataset,
                        std::string_view name) {
  const Reading reading = plan_reading(session.state(), file, dataset);
  const DType dtype = reading.info.type.dtype;
  AnyArray array = name.empty() ? AnyArray::create(dtype, reading.selection.shape)
                                : AnyArray::create(name, dtype, reading.selection.shape);
  try {
    read_planned(session.state(), reading, array.handle());
  } catch (const Error&) {
    array.unlink();
    throw;
  }
  return array;
}

void read_into_array(batch::Session& session, const std::string& file, std::string_view dataset,
                     const AnyArrayRef& array) {
  const Reading reading = plan_reading(session.state(), file, dataset);
  if (array.dtype != reading.info.type.dtype || !(array.shape == reading.selection.shape)) {
    throw std::logic_error("read_into_array: the array is " + std::string(dtype_string(array.dtype)) + " of shape " +
                           to_string(array.shape) + ", the dataset " +
                           std::string(dtype_string(reading.info.type.dtype)) + " of shape " +
                           to_string(reading.selection.shape));
  }
  read_planned(session.state(), reading, array.handle());
}

void write_any_array(batch::Session& session, const AnyArrayRef& array, const std::string& file,
                     const std::string& dataset, const WriteArrayOptions& options) {
  auto& state = session.state();
  state.check_outputs_allowed();
  const auto expression = Expression::parse("x");
  const Program copy = expression.bind(std::vector{array.dtype});
  batch::OutputPart part;
  part.spec.dtype = array.dtype;
  part.spec.shape = array.shape;
  part.spec.filters = hdf5::parse_filters(options.filters);
  part.spec.chunk = options.chunk;
  if (options.chunk.rank() > 0 && options.chunk.rank() != array.shape.rank()) {
    throw std::logic_error("write_array: a chunk shape of another rank than the array's");
  }
  if (!part.spec.filters.empty() && options.chunk.rank() == 0 && array.shape.rank() > 0) {
    part.spec.chunk = hdf5::natural_chunk(array.shape, item_bytes(array.dtype));
  }
  part.program = &copy;
  part.inputs = {0};
  part.dataset = hdf5::parse_dataset_ref(dataset).path;
  batch::OutputRequest request;
  request.action = "writing " + part.dataset;
  batch::OutputVariable variable;
  variable.array = array.handle();
  variable.selection = hdf5::Selection::all(array.shape);
  variable.dtype = array.dtype;
  request.variables.push_back(std::move(variable));
  request.parts.push_back(std::move(part));
  batch::remove_dead_temporaries(batch::directory_of(file));
  batch::PendingOutput output(file, options.existing == batch::MapRequest::Existing::overwrite);
  try {
    (void)batch::make_output(state, request, output);
  } catch (const batch::TaskError& error) {
    throw FormatError("write", file + ":" + request.parts[0].dataset, error.what());
  }
}

}  // namespace runrig
