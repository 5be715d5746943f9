#include "runrig/engine/call.hpp"

#include <string>

#include "captures.hpp"
#include "runrig/channel/object.hpp"
#include "runrig/channel/pickle.hpp"

namespace runrig::detail {
namespace {

using pickle::Object;

Object name_object(const CodeRef& code) {
  return Object::tuple({Object::bytes(std::as_bytes(std::span(code.module))), Object(code.offset)});
}

CodeRef name_from(const Object& object) {
  CodeRef code;
  const auto module = object.at(std::size_t{0}).as_bytes();
  if (module.size() != code.module.size()) {
    throw FormatError("read a call", "pickle",
                      "a module's id has " + std::to_string(module.size()) + " bytes instead of " +
                          std::to_string(code.module.size()));
  }
  for (std::size_t i = 0; i < module.size(); ++i) code.module[i] = std::to_integer<std::uint8_t>(module[i]);
  code.offset = object.at(std::size_t{1}).as_uint();
  return code;
}

std::vector<std::byte> copy_of(std::span<const std::byte> bytes) { return {bytes.begin(), bytes.end()}; }

}  // namespace

void CallWire::write(std::vector<std::byte>& out) const {
  pickle::dumps_to(out, Object::tuple({name_object(code), name_object(function), Object::bytes(std::span(closure)),
                                       Object::bytes(std::span(arguments))}));
}

CallWire CallWire::read(std::span<const std::byte> bytes) {
  const Object wire = pickle::loads(bytes);
  return {name_from(wire.at(std::size_t{0})), name_from(wire.at(std::size_t{1})),
          copy_of(wire.at(std::size_t{2}).as_bytes()), copy_of(wire.at(std::size_t{3}).as_bytes())};
}

void CallWire::invoke(std::vector<std::byte>& result) const {
  const Trampoline& trampoline = resolve(code);
  trampoline.invoke({closure, function ? resolve_function(function) : 0, arguments}, result);
}

void CallWire::run(std::span<UniqueFd> descriptors) const {
  std::vector<std::byte> no_result;
  const Trampoline& trampoline = resolve(code);
  trampoline.invoke({closure, function ? resolve_function(function) : 0, arguments, false, descriptors}, no_result);
}

void Call::run_here() const {
  if (!state_) return;
  if (state_->trampoline == nullptr) return state_->run();
  std::vector<std::byte> no_result;
  std::vector<UniqueFd> own;
  for (const auto& each : state_->descriptors) own.push_back(std::move(*each));
  state_->trampoline->invoke({state_->closure, state_->function, state_->arguments, false, own}, no_result);
}

std::vector<int> Call::descriptors() const {
  std::vector<int> all;
  if (!state_) return all;
  for (const auto& each : state_->descriptors) all.push_back(each->get());
  return all;
}

void Call::give_descriptors_away() const noexcept {
  if (!state_) return;
  for (const auto& each : state_->descriptors) each->reset();
}

CallWire Call::wire() const {
  if (!state_) throw std::logic_error("send a call to another process: there is nothing to call");
  if (state_->trampoline == nullptr) {
    throw std::logic_error(
        "send a call to another process: a callable marked as fork_only can only run in a forked child; for spawn and "
        "forkserver, pass a function, or a lambda that captures numbers only, and everything else as arguments");
  }
  CallWire wire;
  wire.code = state_->trampoline->code();
  if (state_->function != 0) wire.function = function_ref(state_->function);
  wire.closure = copy_of(state_->closure);
  wire.arguments = state_->arguments;
  return wire;
}

void Call::check(AddressLayout layout, const char* what, const std::function<bool(const void*)>& shared) const {
  if (!state_) return;
  if (state_->trampoline == nullptr) {
    if (layout == AddressLayout::foreign) (void)wire();  // throws
    return;
  }
  if (!may_hold_pointers(state_->closure)) return;
  CaptureCheck captures;
  layout == AddressLayout::forked ? captures.take_snapshot() : captures.expect_foreign_layout();
  const std::string subject = std::string(what) + ": the callable's";
  captures.check_captures(
      {subject, "capture numbers by value, and pass everything else, as handles where it is shared, as arguments"},
      state_->closure, shared);
}

}  // namespace runrig::detail
