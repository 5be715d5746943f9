#include "reduce_histogram.hpp"

#include <cstring>

#include "map_plan.hpp"
#include "runrig/engine/reduction.hpp"
#include "runrig/hdf5/output.hpp"

namespace runrig::batch {
namespace {

struct Plan {
  const char* file = nullptr;
  const char* counts_path = nullptr;
  const char* edges_path = nullptr;
  std::span<const std::byte> counts;
  std::span<const std::byte> edges;
  DType edge_dtype = DType::float64;
  std::span<const PlanAttribute> attributes;

  void write() const {
    hdf5::OutputFile output = hdf5::OutputFile::create(file);
    const std::uint64_t bins = counts.size() / sizeof(std::int64_t);
    add(output, counts_path, DType::int64, bins, counts);
    add(output, edges_path, edge_dtype, bins + 1, edges);
    for (const PlanAttribute& each : attributes) {
      for (const char* const path : {counts_path, edges_path}) output.set_attribute(path, each.name, each.text);
    }
    output.close();
  }

 private:
  static void add(hdf5::OutputFile& output, const char* path, DType dtype, std::uint64_t elements,
                  std::span<const std::byte> values) {
    hdf5::OutputSpec spec;
    spec.dtype = dtype;
    spec.shape = Shape{elements};
    output.create_dataset(path, spec);
    output.write(path, hdf5::Box::all(spec.shape), values);
  }
};

}  // namespace

void write_histogram(Session::State& state, std::span<const std::byte> counts, std::span<const double> edges,
                     DType edge_dtype, const std::string& to, const TextAttributes& attributes, PendingOutput& output) {
  const std::size_t item = item_bytes(edge_dtype);
  ArenaWriter memory(*state.arena, sizeof(Plan) + counts.size() + edges.size() * item + output.temporary_path().size() +
                                       2 * to.size() + attribute_bytes(attributes) + 256);
  auto* const plan = memory.add<Plan>(1);
  std::byte* const count_bytes = memory.take(counts.size(), 8);
  std::memcpy(count_bytes, counts.data(), counts.size());
  std::byte* const edge_bytes = memory.take(edges.size() * item, 8);
  for (std::size_t i = 0; i < edges.size(); ++i) store_real(edge_dtype, edges[i], edge_bytes + i * item);
  *plan = {memory.add(output.temporary_path()), memory.add(to),
           memory.add(to + "_edges"),           {count_bytes, counts.size()},
           {edge_bytes, edges.size() * item},   edge_dtype,
           add_attributes(memory, attributes)};
  auto options = state.launch_options(1, counts.size());
  options.max_kills = 1;  // what a dead writer had begun is there
  Launch launch = state.writer.launch(options, [plan](SliceContext& context) {
    try {
      plan->write();
    } catch (...) {
      context.retire();
      throw;
    }
  });
  state.wait(launch);
  check_launch(launch, "writing " + to);
  output.publish();
}

}  // namespace runrig::batch
