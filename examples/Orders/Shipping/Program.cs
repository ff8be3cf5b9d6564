using Orders;
using Sagas.MassTransit;
using Sagas.Participants;

var builder = Host.CreateApplicationBuilder(args);
builder.Logging.SetMinimumLevel(LogLevel.Warning).AddFilter("Microsoft.Extensions.Hosting", LogLevel.None);
var data = builder.Configuration["data"] ?? Path.Combine("data", "shipping");
builder.Services.AddSingleton(new DirectoryInfo(data));
builder.Services.AddSagaParticipants(p => p.Add<Shipping>("shipping").UseFileBarrier(Path.Combine(data, "barrier")).UseRabbitMq());
using var host = builder.Build();
try
{
    await host.StartAsync();
}
catch (Exception e)
{
    Console.Error.WriteLine($"shipping cannot start: {e.Message}");
    return 1;
}
Console.WriteLine("shipping is ready.");
await host.WaitForShutdownAsync();
return 0;
