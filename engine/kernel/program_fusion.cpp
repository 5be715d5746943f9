#include <algorithm>
#include <optional>

#include "program_builder.hpp"

namespace runrig::detail {

/// Puts fused instructions in the place of those whose values only they use. From the result backwards, so that of a
/// chain the last two become one, and the two before them.
class ProgramBuilder::Fuser {
 public:
  explicit Fuser(ProgramBuilder& builder) : builder_(builder), uses_(builder.values_.size(), 0) {
    for (std::size_t id = 0; id < uses_.size(); ++id) {
      if (!builder_.needed_[id]) continue;
      for (std::size_t i = 0; i < value(id).count; ++i) ++uses_[value(id).arguments[i]];
    }
  }

  void run() {
    for (std::size_t id = uses_.size(); id-- > 0;) {
      if (!builder_.needed_[id] || value(id).kind != Kind::computed) continue;
      if (value(id).lane != Lane::f32 && value(id).lane != Lane::f64) continue;
      const bool root = value(id).op == Op::sqrt;
      if (root && !used_here_alone(value(id).arguments[0], value(id))) continue;
      const ValueId outer = root ? value(id).arguments[0] : static_cast<ValueId>(id);
      if (value(outer).count != 2 || value(outer).arguments[0] == value(outer).arguments[1]) continue;
      if (const auto found = fused(value(outer), root)) replace(id, outer, *found);
    }
  }

 private:
  [[nodiscard]] const Value& value(std::size_t id) const { return builder_.values_[id]; }

  [[nodiscard]] bool used_here_alone(ValueId argument, const Value& user) const {
    const auto* const end = user.arguments.begin() + user.count;
    return value(argument).kind == Kind::computed &&
           uses_[argument] == static_cast<std::uint32_t>(std::count(user.arguments.begin(), end, argument));
  }

  /// The instruction for `outer` and what it is made of, if there is one.
  [[nodiscard]] std::optional<Value> fused(const Value& outer, bool root) const {
    const auto [left, right] = std::pair(outer.arguments[0], outer.arguments[1]);
    const bool of_left = used_here_alone(left, outer);
    const bool of_right = used_here_alone(right, outer);
    std::optional<Value> made;
    if (of_left && of_right && value(left).op == value(right).op) {
      made = instruction({value(left).op, outer.op, Fusion::Form::both, root}, outer,
                         {left_of(left), right_of(left), left_of(right), right_of(right)});
    }
    if (!made && of_left) {
      made = instruction({value(left).op, outer.op, Fusion::Form::left, root}, outer,
                         {left_of(left), right_of(left), right});
    }
    if (!made && of_right) {
      made = instruction({value(right).op, outer.op, Fusion::Form::right, root}, outer,
                         {left_of(right), right_of(right), left});
    }
    return made;
  }
  [[nodiscard]] ValueId left_of(ValueId id) const { return value(id).arguments[0]; }
  [[nodiscard]] ValueId right_of(ValueId id) const { return value(id).arguments[1]; }

  [[nodiscard]] static std::optional<Value> instruction(const Fusion& fusion, const Value& outer,
                                                        std::initializer_list<ValueId> arguments) {
    const auto* const found = std::find(fusions.begin(), fusions.end(), fusion);
    if (found == fusions.end()) return std::nullopt;
    Value made{.op = fused_op(static_cast<std::size_t>(found - fusions.begin())),
               .lane = outer.lane,
               .result = outer.result,
               .count = static_cast<std::uint32_t>(arguments.size())};
    std::copy(arguments.begin(), arguments.end(), made.arguments.begin());
    return made;
  }

  /// What the values in between are made of is used by the new instruction, as often as it was by them.
  void replace(std::size_t id, ValueId outer, const Value& made) {
    if (outer != id) builder_.needed_[outer] = false;
    for (const ValueId inner : {value(outer).arguments[0], value(outer).arguments[1]}) {
      const auto* const end = made.arguments.begin() + made.count;
      if (std::find(made.arguments.begin(), end, inner) == end) builder_.needed_[inner] = false;
    }
    builder_.values_[id] = made;
  }

  ProgramBuilder& builder_;
  std::vector<std::uint32_t> uses_;  // of each value, by values that are needed
};

void ProgramBuilder::fuse() { Fuser(*this).run(); }

}  // namespace runrig::detail
