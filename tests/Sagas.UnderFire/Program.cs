// Sagas under fire: two engine nodes, three participants, Redis and RabbitMQ, each a process of its own that is killed, stopped and cut off, while money is transferred.
//
//   dotnet run -c Release --project tests/Sagas.UnderFire -- --minutes 10 [--seed N] [--keep]
//
// It starts the others itself: "engine" and "participant" as the first argument.

using System.Globalization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Sagas.AspNetCore;
using Sagas.MassTransit;
using Sagas.Redis;
using Sagas.Runtime;
using Sagas.UnderFire;

switch (args)
{
    case ["engine", var node, var folder, var url, var rabbit, var redis]:
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders().AddProvider(new FileLog(Path.Combine(folder, $"engine-{node}.log")));
        builder.WebHost.UseUrls(url);
        builder.Services.AddSagas(s => s.AddSaga<Transfer>().UseRedis(redis).UseRabbitMq(o => (o.Url, o.Queues) = (rabbit, QueueKind.Classic)).Configure(o => o.Node = node));
        await using (var app = builder.Build())
        {
            app.MapSagas();
            await app.StartAsync();
            Console.WriteLine("ready");
            await app.WaitForShutdownAsync();
        }
        return 0;
    case ["participant", var name, var folder, var rabbit, var redis]:
        await Participant.RunAsync(name, folder, rabbit, redis);
        return 0;
}

var (time, seed, keep) = (TimeSpan.FromMinutes(1), Random.Shared.Next(), false);
for (var i = 0; i < args.Length; i++)
{
    var value = i + 1 < args.Length && double.TryParse(args[i + 1], CultureInfo.InvariantCulture, out var number) ? number : double.NaN;
    switch (args[i])
    {
        case "--minutes" when value > 0: (time, i) = (TimeSpan.FromMinutes(value), i + 1); break;
        case "--seconds" when value > 0: (time, i) = (TimeSpan.FromSeconds(value), i + 1); break;
        case "--seed" when value >= 0: (seed, i) = ((int)value, i + 1); break;
        case "--keep": keep = true; break;
        default:
            Console.Error.WriteLine($"'{args[i]}' is not understood. Give --minutes N or --seconds N, --seed N, --keep (leaves books and logs).");
            return 2;
    }
}
using var stop = new CancellationTokenSource();
Console.CancelKeyPress += (_, key) =>
{
    key.Cancel = true;
    stop.Cancel();
};
return await Referee.RunAsync(time, seed, keep, Console.WriteLine, stop.Token) ? 0 : 1;
