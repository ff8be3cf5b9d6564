using System.Text.Json;
using Sagas.Runtime;

namespace Sagas.Testing.Simulator;

/// <summary>The bus between the world's processes. Messages travel as the JSON that a real one would carry.</summary>
internal sealed class Bus(World world)
{
    private readonly Dictionary<(string From, string To), DateTimeOffset> _cuts = [];

    /// <summary>Nothing from the one is heard by the other until then.</summary>
    public void Cut(string from, string to, DateTimeOffset until) => _cuts[(from, to)] = until;

    public bool IsCut(string from, string to) => _cuts.TryGetValue((from, to), out var until) && until > world.Scheduler.Now;

    public void Heal() => _cuts.Clear();

    public async Task SendAsync<TBatch>(Process from, Machine to, string queue, TBatch batch, Func<TBatch, ValueTask> accept) where TBatch : class
    {
        if (!from.Alive) await World.Never;
        var faults = world.Faults;
        if (faults.Strikes(Fault.SendRefused)) throw new IOException("The bus refuses.");
        var message = JsonSerializer.SerializeToUtf8Bytes(batch, SagaJson.Options);
        world.Trace("send", queue, message.Length);
        Travel();
        if (faults.Strikes(Fault.Duplicate)) Travel();
        // The sender hears a little later that the bus has it, so that more can gather meanwhile.
        await world.PassAsync(from, world.Chance.Next(3) == 0 ? TimeSpan.FromMilliseconds(world.Chance.NextDouble() * 5) : TimeSpan.Zero);
        if (faults.Strikes(Fault.SendAnswerLost)) throw new IOException("The bus does not answer.");

        void Travel()
        {
            if (faults.Strikes(Fault.Drop)) return;
            var delay = TimeSpan.FromMilliseconds(0.1 + world.Chance.NextDouble() * 2);
            if (faults.Strikes(Fault.Delay)) delay += faults.Time(Fault.Delay, 30.Seconds());
            if (faults.Strikes(Fault.Reorder)) delay += faults.Time(Fault.Reorder, 100.Milliseconds());
            world.Scheduler.After(null, delay, () =>
            {
                if (IsCut(from.Name, to.Name)) return;
                world.Deliver(to, queue, () => accept(JsonSerializer.Deserialize<TBatch>(message, SagaJson.Options)!));
            });
        }
    }
}

/// <summary>The engine's way to the bus.</summary>
internal sealed class SimulatedTransport(World world, Process process) : ITransport
{
    public string ReplyTo => "sagas.replies." + process.Name;

    public async Task SendAsync(string participant, CommandBatch batch, CancellationToken cancel)
    {
        if (!process.Alive) await World.Never;
        await world.CommandAsync(process, participant, batch);
        if (world.Faults.Strikes(Fault.CrashAfterDispatch)) await world.CrashHereAsync(process, Fault.CrashAfterDispatch);
    }
}
