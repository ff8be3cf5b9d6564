using System.Globalization;
using Sagas.UnderFire;
using Shouldly;
using Xunit;

namespace Sagas.Tests;

/// <summary>
/// Two engine nodes, three participants, Redis and RabbitMQ as processes of their own that are killed, stopped and cut off, while money is transferred. SAGAS_FIRE_SECONDS
/// and SAGAS_SEED set the run.
/// </summary>
[Collection(nameof(Alone))]
public sealed class UnderFireTests(ITestOutputHelper output)
{
    [Fact]
    public async Task Promises_hold_and_the_money_adds_up_while_everything_is_killed_and_cut_off()
    {
        var time = Environment.GetEnvironmentVariable("SAGAS_FIRE_SECONDS") is { } seconds ? double.Parse(seconds, CultureInfo.InvariantCulture) : 60;
        var seed = Environment.GetEnvironmentVariable("SAGAS_SEED") is { } given ? int.Parse(given, CultureInfo.InvariantCulture) : Random.Shared.Next();
        output.WriteLine($"SAGAS_SEED={seed}");
        (await Referee.RunAsync(TimeSpan.FromSeconds(time), seed, keep: false, output.WriteLine, TestContext.Current.CancellationToken)).ShouldBeTrue("the lines that begin with WRONG say why");
    }
}

/// <summary>What has to be done within seconds by many processes is not asked of a machine that proves theorems beside it: after all others, with nobody beside it.</summary>
[CollectionDefinition(nameof(Alone), DisableParallelization = true)]
public sealed class Alone;
