using System.Globalization;
using Microsoft.Extensions.DependencyInjection;
using Sagas.Redis;
using Sagas.Tests.Participants;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Redis;

public class RedisBarrierTests : BarrierContract
{
    private readonly string _prefix = $"b-{Guid.NewGuid():N}";
    private int _desks;

    private protected virtual async Task<string> ServersAsync() => (await RedisServer.SharedAsync()).Address;

    private protected override Task<Desk> OpenAsync() => OpenAsync($"{_prefix}.{++_desks}");

    private protected async Task<Desk> OpenAsync(string prefix, Agent? agent = null)
    {
        var connection = await ServersAsync();
        return await Desk.OpenAsync(p => p.UseRedisBarrier(options => (options.Connection, options.Prefix, options.BarrierTag) = (connection, prefix, "money")), agent);
    }
}

public sealed class RedisClusterBarrierTests : RedisBarrierTests
{
    private protected override async Task<string> ServersAsync() => (await RedisCluster.SharedAsync()).Address;
}

/// <summary>A participant of two processes, and one whose data lies in the barrier's Redis.</summary>
public sealed class RedisEffectTests
{
    private const string Take = """
        local left = tonumber(redis.call('GET', KEYS[1]) or 0) - tonumber(ARGV[1])
        if left < 0 then return refuse('no-money', 'Too little is left.') end
        redis.call('SET', KEYS[1], left)
        return '{"id":"' .. ARGV[2] .. '"}'
        """;

    private const string GiveBack = "redis.call('INCRBY', KEYS[1], ARGV[1])";

    private readonly string _prefix = $"e-{Guid.NewGuid():N}";

    private string Balance => $"{{money}}:{_prefix}";

    [Fact]
    public async Task A_cancel_that_comes_to_another_process_while_the_try_runs_is_put_off_and_then_undoes_it()
    {
        await using var one = await OpenAsync();
        await using var other = await OpenAsync();
        var (begun, answer) = (new TaskCompletionSource(), new TaskCompletionSource<Seat>(TaskCreationOptions.RunContinuationsAsynchronously));
        one.Agent.Try = (_, _) =>
        {
            begun.SetResult();
            return answer.Task;
        };
        var trying = one.TryAsync();
        await begun.Task;
        var early = await other.CancelAsync();
        early.Outcome.ShouldBe(Outcome.Busy);
        early.RetryAfter.ShouldNotBeNull();
        answer.SetResult(new Seat("12A"));
        (await trying).ShouldBeOk();
        (await other.CancelAsync()).ShouldBeOk();
        other.ShouldHaveCalled("cancel LH1 12A");
        for (var i = 2; i < 7; i++) (await (i % 2 == 0 ? one : other).TryAsync(i)).Outcome.ShouldBe(Outcome.Ok, "the try was answered before: the same answer, and no call");
        one.ShouldHaveCalled("try LH1");
    }

    [Fact]
    public async Task No_late_try_gets_through_in_any_process_however_often_it_is_repeated()
    {
        await using var one = await OpenAsync();
        await using var other = await OpenAsync();
        (await one.CancelAsync()).ShouldBeOk();
        for (var i = 1; i < 20; i++) (await (i % 2 == 0 ? one : other).TryAsync(i)).ShouldBe(Outcome.Refused, "cancelled");
        one.ShouldHaveCalled();
        other.ShouldHaveCalled();
    }

    [Fact]
    public async Task An_effect_and_its_note_are_one_and_a_repeat_after_a_crash_between_gets_the_noted_answer()
    {
        (await RedisServer.SharedAsync()).Cli("set", Balance, "100");
        await using var crashed = await OpenAsync();
        var applied = new TaskCompletionSource();
        crashed.Agent.Do = async context =>
        {
            await EffectsOf(crashed).ApplyAsync<Hold>(context, Take, [Balance], 30, "h1");
            applied.SetResult();
            return await new TaskCompletionSource<Hold>().Task;
        };
        _ = crashed.DoAsync();
        await applied.Task;
        await using var desk = await OpenAsync();
        await LeaseIsOverAsync("money");
        (await desk.DoAsync(attempt: 2)).ShouldBeOk("""{"id":"h1"}""");
        desk.ShouldHaveCalled();
        await BalanceShouldBe(70);
    }

    [Fact]
    public async Task A_try_that_was_paused_beyond_its_lease_and_cancelled_elsewhere_changes_nothing_when_it_goes_on()
    {
        (await RedisServer.SharedAsync()).Cli("set", Balance, "100");
        await using var paused = await OpenAsync();
        await using var other = await OpenAsync();
        var (trying, goOn) = await TryAndPauseAsync(paused);
        await LeaseIsOverAsync("seat");
        (await other.CancelAsync()).ShouldBeOk();
        goOn.SetResult();
        (await trying).Outcome.ShouldBe(Outcome.Busy);
        await BalanceShouldBe(100);
        paused.Agent.Try = (_, _) => throw new InvalidOperationException("Nobody may ask again.");
        (await paused.TryAsync(attempt: 2)).ShouldBe(Outcome.Refused, "cancelled");
        await BalanceShouldBe(100);
    }

    [Fact]
    public async Task A_process_that_could_not_leave_a_step_has_its_turn_again_at_once_and_others_wait()
    {
        await using var proxy = new CuttingProxy((await RedisServer.SharedAsync()).Port);
        await using var one = await OpenAsync(proxy.Address);
        await using var other = await OpenAsync();
        (await one.TryAsync()).ShouldBeOk();
        // It has its turn, and does not know.
        proxy.CutNextAnswer();
        (await one.ConfirmAsync()).Outcome.ShouldBe(Outcome.Error);
        proxy.Cuts.ShouldBe(1);
        (await other.ConfirmAsync()).Outcome.ShouldBe(Outcome.Busy);
        await Eventually.TrueAsync(async () => (await one.ConfirmAsync()).Outcome == Outcome.Ok, seconds: 5);
        (await other.ConfirmAsync()).ShouldBeOk();
        one.ShouldHaveCalled("try LH1", "confirm LH1 12A");
    }

    [Fact]
    public async Task What_is_still_on_its_way_from_an_earlier_turn_of_the_same_process_is_not_written()
    {
        (await RedisServer.SharedAsync()).Cli("set", Balance, "100");
        await using var desk = await OpenAsync();
        var (trying, goOn) = await TryAndPauseAsync(desk);
        // As if it had begun anew meanwhile.
        var server = await RedisServer.SharedAsync();
        var token = server.Cli("get", Row("seat") + ":turn").Split('.');
        server.Cli("set", Row("seat") + ":turn", $"{token[0]}.{int.Parse(token[1], CultureInfo.InvariantCulture) + 1}");
        goOn.SetResult();
        (await trying).Outcome.ShouldBe(Outcome.Busy);
        await BalanceShouldBe(100);
    }

    [Fact]
    public async Task A_refusal_and_a_compensation_are_noted_with_their_effect_too()
    {
        (await RedisServer.SharedAsync()).Cli("set", Balance, "100");
        await using var desk = await OpenAsync();
        desk.Agent.Do = context => EffectsOf(desk).ApplyAsync<Hold>(context, Take, [Balance], context.Saga == "s1" ? 60 : 50, "h1");
        desk.Agent.Undo = context => EffectsOf(desk).ApplyAsync(context, GiveBack, [Balance], 60);
        (await desk.DoAsync()).ShouldBeOk("""{"id":"h1"}""");
        (await desk.AskAsync(Phase.Do, "hold-money", """{"amount":50}""", saga: "s2")).ShouldBe(Outcome.Refused, "no-money");
        (await desk.CompensateAsync()).ShouldBeOk();
        (await desk.CompensateAsync()).ShouldBeOk();
        await BalanceShouldBe(100);
        (await desk.AskAsync(Phase.Do, "hold-money", """{"amount":50}""", saga: "s2", attempt: 2)).ShouldBe(Outcome.Refused, "no-money");
        await BalanceShouldBe(100);
    }

    [Fact]
    public async Task Rows_are_forgotten_after_the_retention_only_when_they_are_settled()
    {
        await using var desk = await OpenAsync();
        await desk.TryAsync();
        await desk.DoAsync();
        var server = await RedisServer.SharedAsync();
        server.Cli("pttl", Row("seat")).ShouldBe("-1");
        long.Parse(server.Cli("pttl", Row("money"))).ShouldBeInRange(1, (long)TimeSpan.FromDays(7).TotalMilliseconds);
        await desk.ConfirmAsync();
        long.Parse(server.Cli("pttl", Row("seat"))).ShouldBeInRange(1, (long)TimeSpan.FromDays(7).TotalMilliseconds);
    }

    /// <summary>A try that has begun and takes 30 once it is let go on.</summary>
    private async Task<(Task<ReplyItem> Trying, TaskCompletionSource GoOn)> TryAndPauseAsync(Desk desk)
    {
        var (begun, goOn) = (new TaskCompletionSource(), new TaskCompletionSource());
        desk.Agent.Try = async (context, _) =>
        {
            begun.SetResult();
            await goOn.Task;
            return await EffectsOf(desk).ApplyAsync<Seat>(context, Take, [Balance], 30, "12A");
        };
        var trying = desk.TryAsync();
        await begun.Task;
        return (trying, goOn);
    }

    private static RedisEffects EffectsOf(Desk desk) => desk.Services.GetRequiredService<RedisEffects>();

    private async Task<Desk> OpenAsync() => await OpenAsync((await RedisServer.SharedAsync()).Address);

    private Task<Desk> OpenAsync(string connection) =>
        Desk.OpenAsync(p => p.UseRedisBarrier(options => (options.Connection, options.Prefix, options.BarrierTag) = (connection, _prefix, "money")));

    private string Row(string step) => $"{_prefix}:barrier:{{money}}:s1/{step}";

    /// <summary>What time does when the process that has the turn does nothing.</summary>
    private async Task LeaseIsOverAsync(string step) => (await RedisServer.SharedAsync()).Cli("del", Row(step) + ":turn").ShouldBe("1");

    private async Task BalanceShouldBe(int amount) => (await RedisServer.SharedAsync()).Cli("get", Balance).ShouldBe($"{amount}");
}
