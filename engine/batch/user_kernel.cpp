#include "user_kernel.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>

#include "encoding.hpp"
#include "runrig/kernel.h"
#include "runrig/sync/error.hpp"
#include "writer_calls.hpp"

namespace runrig::batch {
namespace {

using pickle::Object;

constexpr std::size_t message_bytes = 512;
constexpr std::size_t max_signature_bytes = 4096;
constexpr std::string_view attempt = "load the kernel";

std::int32_t number_of(DType dtype) {
  static_assert(RUNRIG_BOOL == static_cast<int>(DType::boolean) + 1);
  static_assert(RUNRIG_UINT64 == static_cast<int>(DType::uint64) + 1);
  static_assert(RUNRIG_FLOAT64 == static_cast<int>(DType::float64) + 1);
  static_assert(RUNRIG_COMPLEX128 == static_cast<int>(DType::complex128) + 1);
  return static_cast<std::int32_t>(dtype) + 1;
}

struct LoadedKernel {
  runrig_kernel_function function = nullptr;
  const runrig_kernel_info* info = nullptr;
};

// What the dynamic linker says, without the name that stands before it.
std::string linker_reason(const std::string& library) {
  const char* const text = ::dlerror();
  std::string reason = text != nullptr ? text : "unknown reason";
  if (reason.starts_with(library + ": ")) reason.erase(0, library.size() + 2);
  return reason;
}

// Of this process; a library stays loaded.
LoadedKernel open_kernel(const std::string& library, const std::string& function) {
  const std::string name = kernel_name(library, function);
  void* const handle = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) throw FormatError(attempt, name, linker_reason(library));
  LoadedKernel kernel;
  kernel.info = static_cast<const runrig_kernel_info*>(::dlsym(handle, ("runrig_kernel_" + function).c_str()));
  kernel.function = reinterpret_cast<runrig_kernel_function>(::dlsym(handle, function.c_str()));
  if (kernel.function == nullptr) throw FormatError(attempt, name, "the library has no function of that name");
  if (kernel.info == nullptr) {
    throw FormatError(attempt, name, "the function was not defined with RUNRIG_KERNEL(" + function + ", ...)");
  }
  if (kernel.info->abi != RUNRIG_KERNEL_ABI || kernel.info->block_bytes != sizeof(runrig_block)) {
    throw FormatError(attempt, name,
                      "it was compiled with version " + std::to_string(kernel.info->abi) +
                          " of runrig/kernel.h, and this is version " + std::to_string(RUNRIG_KERNEL_ABI) +
                          ": compile it anew");
  }
  return kernel;
}

const LoadedKernel& loaded_kernel(const KernelPlan& plan) {
  // Never destroyed: workers leave by _exit.
  static auto* const kernels = std::make_unique<std::map<std::string, LoadedKernel>>().release();
  const std::string name = kernel_name(plan.library, plan.function);
  auto found = kernels->find(name);
  if (found == kernels->end()) found = kernels->emplace(name, open_kernel(plan.library, plan.function)).first;
  return found->second;
}

template <class To, class From>
To converted(From value) {
  if constexpr (std::is_same_v<From, half>) {
    return converted<To>(static_cast<float>(value));
  } else if constexpr (std::is_same_v<To, half>) {
    return half(static_cast<float>(value));
  } else {
    return static_cast<To>(value);
  }
}

void convert(DType from, const std::byte* values, DType to, std::byte* out, std::size_t elements) {
  visit_dtype(from, [&]<class From>(std::type_identity<From>) {
    visit_dtype(to, [&]<class To>(std::type_identity<To>) {
      for (std::size_t i = 0; i < elements; ++i) {
        From value;
        std::memcpy(&value, values + i * sizeof value, sizeof value);
        const To made = converted<To>(value);
        std::memcpy(out + i * sizeof made, &made, sizeof made);
      }
    });
  });
}

std::string place_of(const hdf5::Box& block) {
  if (block.start.rank() == 0) return "";
  return " in the block of " + to_string(block.count) + " at " + to_string(block.start);
}

// The kernel, with what it throws as an error of ours.
int call(const LoadedKernel& kernel, const runrig_block& block, const std::string& name, const std::string& place) {
  try {
    return kernel.function(&block);
  } catch (const std::exception& error) {
    throw FormatError("run the kernel", name, "it threw '" + one_line(error.what()) + "'" + place);
  } catch (...) {  // of a type that only the library knows
    throw FormatError("run the kernel", name, "it threw something" + place);
  }
}

bool is_identifier(std::string_view text) {
  const auto is_part = [](char c) { return c == '_' || std::isalnum(static_cast<unsigned char>(c)) != 0; };
  return !text.empty() && std::isdigit(static_cast<unsigned char>(text[0])) == 0 && std::ranges::all_of(text, is_part);
}

}  // namespace

MapKernel MapKernel::parse(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0 || !is_identifier(text.substr(colon + 1))) {
    throw FormatError("use the kernel", text, "write LIBRARY:FUNCTION, as ./libmine.so:speed");
  }
  return {std::string(text.substr(0, colon)), std::string(text.substr(colon + 1)), ""};
}

KernelSignature KernelSignature::parse(std::string_view text, const std::string& name) {
  KernelSignature signature;
  const auto fail = [&](const std::string& why) {
    return FormatError(attempt, name, "its signature '" + std::string(text) + "' " + why);
  };
  const auto arrow = text.find("->");
  if (arrow == std::string_view::npos) throw fail("has no '->'");
  const auto read = [&](std::string_view part) {
    std::vector<std::optional<DType>> types;
    constexpr std::string_view between = " ,\t\n";
    while (true) {
      part.remove_prefix(std::min(part.find_first_not_of(between), part.size()));
      if (part.empty()) break;
      const std::string_view word = part.substr(0, part.find_first_of(between));
      part.remove_prefix(word.size());
      const auto dtype = word == "any" ? std::nullopt : parse_dtype(word);
      if (word != "any" && !dtype) throw fail("has the type '" + std::string(word) + "', which there is not");
      types.push_back(dtype);
    }
    return types;
  };
  signature.inputs = read(text.substr(0, arrow));
  signature.outputs = read(text.substr(arrow + 2));
  if (signature.inputs.empty() || signature.outputs.empty()) throw fail("lacks an input or an output");
  return signature;
}

std::vector<DType> KernelSignature::results(std::span<const DType> given, std::optional<DType> asked) const {
  std::vector<DType> types;
  for (const auto& each : outputs) {
    if (each) {
      types.push_back(*each);
    } else if (asked) {
      types.push_back(*asked);
    } else {
      std::string sum = "x0";  // NumPy's type of a sum is that which holds all of its terms
      for (std::size_t i = 1; i < given.size(); ++i) sum += " + x" + std::to_string(i);
      types.push_back(Expression::parse(sum).bind(given).result());
    }
  }
  return types;
}

std::string kernel_name(std::string_view library, std::string_view function) {
  return std::string(library) + ":" + std::string(function);
}

KernelSignature load_kernel(Session::State& state, MapKernel& kernel) {
  // The linker would look for a bare name in its own folders and in LD_LIBRARY_PATH. Here a path is a path.
  const std::unique_ptr<char, decltype(&std::free)> path(::realpath(kernel.library.c_str(), nullptr), &std::free);
  if (path == nullptr) {
    throw FormatError(attempt, kernel_name(kernel.library, kernel.function), std::strerror(errno));
  }
  kernel.library = path.get();
  const std::string name = kernel_name(kernel.library, kernel.function);
  const ArenaBlock block = state.arena->allocate(std::size_t{64} << 10);
  const Journal journal(block.data(), block.size_bytes());
  journal.reset();
  ArenaWriter memory(*state.arena, kernel.library.size() + kernel.function.size() + 16);
  const char* const library = memory.add(kernel.library);
  const char* const function = memory.add(kernel.function);
  Launch launch = state.readers.launch(state.launch_options(1, 0), [=](SliceContext& context) {
    try {
      const LoadedKernel loaded = open_kernel(library, function);
      const char* const text = loaded.info->signature;
      journal.append(Object::dict({{"signature", encode_text({text, ::strnlen(text, max_signature_bytes)})}}));
    } catch (const FormatError& error) {
      const std::string why = error.what();
      const std::string before = std::string(attempt) + " '" + kernel_name(library, function) + "': ";
      journal.append(Object::dict({{"error", encode_text(why.starts_with(before) ? why.substr(before.size()) : why)}}));
      context.retire();
    }
  });
  state.wait(launch);
  const SliceOutcome outcome = launch.outcome(0);
  if (outcome.state != SliceState::done) {
    throw FormatError(attempt, name, "the process that loaded it " + one_line(outcome.message));
  }
  const Object report = read_report(journal);
  if (const Object* const error = report.find("error")) throw FormatError(attempt, name, decode_text(*error));
  return KernelSignature::parse(decode_text(report.at("signature")), name);
}

bool can_convert(DType from, DType to) noexcept {
  if (from == to || from == DType::boolean) return true;
  if (to == DType::boolean || is_complex(from) || is_complex(to)) return false;
  return is_floating(to) || (!is_floating(from) && (is_signed(to) || !is_signed(from)));
}

std::size_t KernelPlan::room_bytes(std::size_t elements) const {
  std::size_t bytes = message_bytes;
  for (const KernelInput& each : inputs) {
    if (each.given != each.wanted) bytes += padded(elements * item_bytes(each.wanted));
  }
  for (const DType each : outputs) bytes += padded(elements * item_bytes(each));
  return bytes;
}

std::vector<std::byte*> run_kernel(const KernelPlan& plan, std::span<const Operand> variables, const hdf5::Box& block,
                                   std::byte* room) {
  const LoadedKernel& kernel = loaded_kernel(plan);
  const auto elements = static_cast<std::size_t>(block.count.elements());
  const auto take = [&room](std::size_t bytes) { return std::exchange(room, room + padded(bytes)); };
  char* const message = reinterpret_cast<char*>(take(message_bytes));
  message[0] = '\0';
  std::vector<runrig_input> inputs;
  for (const KernelInput& each : plan.inputs) {
    const Operand& operand = variables[each.variable];
    const std::size_t count = operand.scalar ? 1 : elements;
    const std::byte* values = operand.data;
    if (each.given != each.wanted) {
      std::byte* const made = take(elements * item_bytes(each.wanted));
      convert(each.given, values, each.wanted, made, count);
      values = made;
    }
    inputs.push_back({values, count, each.name, number_of(each.wanted), 0});
  }
  std::vector<runrig_output> outputs;
  std::vector<std::byte*> results;
  for (const DType each : plan.outputs) {
    std::byte* const values = take(elements * item_bytes(each));
    std::memset(values, 0, elements * item_bytes(each));  // what was there is another block's
    outputs.push_back({values, elements, number_of(each), 0});
    results.push_back(values);
  }
  runrig_block told{};
  told.count = elements;
  told.rank = static_cast<std::uint32_t>(block.count.rank());
  told.input_count = static_cast<std::uint32_t>(inputs.size());
  told.output_count = static_cast<std::uint32_t>(outputs.size());
  told.message_bytes = message_bytes;
  told.shape = plan.shape.begin();
  told.start = block.start.begin();
  told.extent = block.count.begin();
  told.inputs = inputs.data();
  told.outputs = outputs.data();
  told.parameter = plan.parameter;
  told.message = message;
  const std::string name = kernel_name(plan.library, plan.function);
  const int returned = call(kernel, told, name, place_of(block));
  if (returned != 0) {
    const std::string why = one_line({message, ::strnlen(message, message_bytes)});
    throw FormatError("run the kernel", name,
                      (why.empty() ? "it returned " + std::to_string(returned) : why) + place_of(block));
  }
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (plan.outputs[i] != DType::boolean) continue;
    for (std::size_t k = 0; k < elements; ++k) results[i][k] = std::byte{results[i][k] != std::byte{0}};
  }
  return results;
}

std::string tile_failure_text(const SliceOutcome& outcome, const KernelPlan* kernel, const MapTile& tile,
                              std::string_view action) {
  const bool died = outcome.state == SliceState::lost || outcome.state == SliceState::stalled;
  if (kernel == nullptr || !died || tile.in_kernel == 0) return failure_text(outcome, action);
  std::string text = "the kernel " + kernel_name(kernel->library, kernel->function) + " " + one_line(outcome.message) +
                     place_of(tile.box);
  if (outcome.likely_out_of_memory) text += " (likely out of memory)";
  return text;
}

}  // namespace runrig::batch
