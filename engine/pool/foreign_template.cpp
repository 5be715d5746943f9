#include "foreign_template.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../manager/known_managers.hpp"
#include "arena_access.hpp"
#include "control_memory.hpp"
#include "runrig/channel/pickle.hpp"
#include "runrig/engine/log.hpp"
#include "runrig/engine/machine.hpp"
#include "runrig/sync/error.hpp"
#include "template.hpp"

namespace runrig::detail {
namespace {

using pickle::Object;

constexpr std::size_t own_descriptors = 4;  // control memory, arena, command, alive; then those to be kept

Object initializer_object(const PoolOptions& options) {
  if (!options.initializer) return {};
  const Call& call = options.initializer.call();
  const Arena& arena = *options.arena;
  call.check(AddressLayout::foreign, ("make pool '" + options.name + "': initializer").c_str(),
             [&arena](const void* address) { return arena.contains(address); });
  std::vector<std::byte> wire;
  call.wire().write(wire);
  return Object::bytes(std::move(wire));
}

Initializer initializer_from(const Object& object) {
  if (object.is_none()) return {};
  return Initializer([wire = CallWire::read(object.as_bytes())] { wire.run(); });
}

Object payload_of(const ForeignTemplateSetup& setup) {
  const PoolOptions& options = setup.options;
  std::vector<Object> kept;
  for (const int fd : options.keep_fds) {
    const int flags = check_errno(::fcntl(fd, F_GETFD), "keep descriptor " + std::to_string(fd) + " for", options.name);
    kept.push_back(Object::tuple({fd, (flags & FD_CLOEXEC) != 0}));
  }
  const auto arena = reinterpret_cast<std::uintptr_t>(ArenaAccess::memory(*options.arena).bytes().data());
  return Object::dict({{"parent", ::getpid()},
                       {"parent_name", this_process()->name},
                       {"method", to_string(setup.method)},
                       {"workers", setup.workers},
                       {"region_bytes", setup.memory.view().tasks.region_bytes},
                       {"control", reinterpret_cast<std::uintptr_t>(setup.memory.view().control)},
                       {"arena", arena},
                       {"name", options.name},
                       {"data_limit", options.worker_data_limit_bytes},
                       {"core_files", options.core_files},
                       {"allow_threads", options.other_threads == OtherThreads::allow},
                       {"max_tasks", options.max_tasks_per_child},
                       {"keep", Object::list(std::move(kept))},
                       {"initializer", initializer_object(options)},
                       {"modules", setup.modules.to_object()}});
}

// In the template, from here on.

PoolOptions options_from(const Object& told) {
  PoolOptions options;
  options.name = told.at("name").as_string();
  options.start_method = start_method_from(told.at("method").as_string());
  options.worker_data_limit_bytes = told.at("data_limit").as_uint();
  options.core_files = told.at("core_files").as_bool();
  options.max_tasks_per_child = static_cast<int>(told.at("max_tasks").as_int());
  for (const Object& each : told.at("keep").items()) {
    options.keep_fds.push_back(static_cast<int>(each.at(std::size_t{0}).as_int()));
  }
  options.initializer = initializer_from(told.at("initializer"));
  return options;
}

// Gives the descriptors that are to be kept the numbers that they have in the parent, and leaves ours with others.
std::vector<UniqueFd> place_descriptors(std::vector<UniqueFd> given, const Object& told) {
  const auto kept = told.at("keep").items();
  if (given.size() != own_descriptors + kept.size()) {
    throw FormatError("make workers", told.at("name").as_string(), "there are too few descriptors");
  }
  std::int64_t free_from = STDERR_FILENO + 1;
  for (const Object& each : kept) free_from = std::max(free_from, each.at(std::size_t{0}).as_int() + 1);
  for (UniqueFd& each : given) {
    each.reset(check_errno(::fcntl(each.get(), F_DUPFD_CLOEXEC, static_cast<int>(free_from)), "move", "descriptor"));
  }
  for (std::size_t i = 0; i < kept.size(); ++i) {
    const int number = static_cast<int>(kept[i].at(std::size_t{0}).as_int());
    const int flags = kept[i].at(std::size_t{1}).as_bool() ? O_CLOEXEC : 0;
    check_errno(::dup3(given[own_descriptors + i].get(), number, flags), "keep", "descriptor");
  }
  given.resize(own_descriptors);
  return given;
}

[[noreturn]] void refuse_to_start(Control& control, const Error& why) {
  std::snprintf(control.start_text.data(), start_text_bytes, "%s", why.what());
  control.start_errno.store(why.code().value(), std::memory_order_relaxed);    // carried by the next store
  control.phase.store(PoolPhase::failed_to_start, std::memory_order_release);  // pairs with the parent's acquire
  report_progress(control);
  ::_exit(1);
}

// What lives as long as the process, which leaves by _exit.
struct Kept {
  PoolOptions options;
  std::optional<AnonymousMemory> control;
  std::optional<AnonymousMemory> arena;
};

AnonymousMemory attach_at(const UniqueFd& fd, const Object& address) {
  UniqueFd own(check_errno(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0), "map memory of", "pool"));
  return AnonymousMemory::attach(std::move(own), Access::read_write, reinterpret_cast<void*>(address.as_uint()));
}

[[noreturn]] void live_as_template(ChildInput&& input) {
  const Object told = pickle::loads(input.payload);
  auto fds = place_descriptors(std::move(input.descriptors), told);
  const auto view_of = [&told](const AnonymousMemory& memory) {
    return lay_out(memory.writable_bytes().data(), static_cast<int>(told.at("workers").as_int()),
                   told.at("region_bytes").as_uint());
  };
  auto& kept = *new Kept{options_from(told), {}, {}};
  try {
    kept.control = attach_at(fds[0], told.at("control"));
    kept.arena = attach_at(fds[1], told.at("arena"));
  } catch (const Error& error) {
    const auto anywhere = AnonymousMemory::attach(std::move(fds[0]));  // to say so
    refuse_to_start(*view_of(anywhere).control, error);
  }
  TemplateSetup setup;
  setup.view = view_of(*kept.control);
  if (const int threads = process_thread_count(); threads > 1 && !told.at("allow_threads").as_bool()) {
    throw std::logic_error(
        "the program starts threads before it calls runrig::init(), so that workers cannot be forked");
  }
  setup.parent_pid = static_cast<pid_t>(told.at("parent").as_int());
  setup.parent_name = told.at("parent_name").as_string();
  setup.command_fd = fds[2].release();
  setup.alive_fd = fds[3].release();
  setup.options = &kept.options;
  setup.foreign = new ForeignCode(ModuleSnapshot::from_object(told.at("modules")));
  run_template(setup);
}

const ChildEntry template_entry("pool.template", [](ChildInput&& input) { live_as_template(std::move(input)); });

}  // namespace

NewProcess start_foreign_template(const ForeignTemplateSetup& setup) {
  const PoolOptions& options = setup.options;
  Preparation told;
  told.entry = template_entry.name();
  told.method = setup.method;
  told.parent_pid = ::getpid();
  told.parent_name = this_process()->name;
  told.name = options.name;
  told.authkey = this_process()->authkey;
  told.managers = known_managers().tell();
  told.log = log_settings();
  pickle::dumps_to(told.payload, payload_of(setup));
  std::vector<int> descriptors = {setup.memory.fd(), ArenaAccess::memory(*options.arena).fd(), setup.command_fd,
                                  setup.alive_fd};
  descriptors.insert(descriptors.end(), options.keep_fds.begin(), options.keep_fds.end());
  return start_as_told(std::move(told), descriptors);
}

}  // namespace runrig::detail
