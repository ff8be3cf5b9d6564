// Orders over RabbitMQ and Redis: an engine and three services, each a process of its own.
//
//   dotnet run --project examples/Orders [-- --orders 500 --rate 50 --port 5080 --kill]      all of it, on private servers (Demo.cs)
//   dotnet run --project examples/Orders -- engine|inventory|payment|shipping                one process; Sagas__Redis__Connection and
//                                                                                            Sagas__RabbitMq__Url say where the servers are
//
//   engine ─▶ RabbitMQ ─▶ inventory   Inventory.cs    data and barrier in Redis
//     │               ├─▶ payment     Payment.cs      data and barrier in Redis
//   Redis             └─▶ shipping    Shipping.cs     data and barrier in files

using Microsoft.Extensions.Options;
using Orders;
using Sagas.AspNetCore;
using Sagas.MassTransit;
using Sagas.Participants;
using Sagas.Redis;
using Sagas.Runtime;

var name = args.FirstOrDefault() is { } first && !first.StartsWith('-') ? first : null;
try
{
    switch (name)
    {
        case null: return await Demo.RunAsync(args);
        case "engine": return await EngineAsync();
        case "inventory": return await ServiceAsync((p, _) => p.Add<Inventory>("inventory").UseRedisBarrier().UseRabbitMq());
        case "payment": return await ServiceAsync((p, _) => p.Add<Payment>("payment").UseRedisBarrier().UseRabbitMq());
        case "shipping": return await ServiceAsync((p, data) => p.Add<Shipping>("shipping").UseFileBarrier(Path.Combine(data, "barrier")).UseRabbitMq());
        default:
            Console.Error.WriteLine($"There is no '{name}' here. Say engine, inventory, payment or shipping, or nothing for all of them.");
            return 1;
    }
}
catch (Exception e) when (name is not null && e is OptionsValidationException or StoreUnavailableException or IOException)
{
    Console.Error.WriteLine($"{name} cannot start: {e.Message}");
    return 1;
}

async Task<int> EngineAsync()
{
    var builder = WebApplication.CreateBuilder(args[1..]);
    builder.Logging.SetMinimumLevel(LogLevel.Warning).AddFilter("Microsoft.Extensions.Hosting", LogLevel.None);
    builder.Services.AddSagas(s => s.AddSaga<PlaceOrder>().UseRedis().UseRabbitMq());
    builder.WebHost.UseUrls(builder.Configuration["urls"] ?? "http://127.0.0.1:5080");
    var app = builder.Build();
    app.MapSagas();
    await app.StartAsync();
    Console.WriteLine($"engine is ready: {app.Urls.First()}");
    await app.WaitForShutdownAsync();
    return 0;
}

async Task<int> ServiceAsync(Action<ParticipantsBuilder, string> add)
{
    var builder = Host.CreateApplicationBuilder(args[1..]);
    builder.Logging.SetMinimumLevel(LogLevel.Warning).AddFilter("Microsoft.Extensions.Hosting", LogLevel.None);
    var data = builder.Configuration["data"] ?? Path.Combine("data", name!);
    builder.Services.AddSingleton(new DirectoryInfo(data));
    builder.Services.AddSagaParticipants(p => add(p, data));
    using var host = builder.Build();
    await host.StartAsync();
    Console.WriteLine($"{name} is ready.");
    await host.WaitForShutdownAsync();
    return 0;
}
