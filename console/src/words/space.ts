// What the store holds of disks over time.
export const space = {
  "space.title": ["Space in the snapshot store", "快照存储占用"],
  "space.lead": ["Each block once, whichever snapshots see it", "每个数据块只计一次，无论被多少快照引用"],
  "space.held": ["Stored now", "当前占用"],
  "space.later": ["{size} now. A chart is shown from the second day on.", "当前 {size}。从第二天起显示图表。"],
  "space.grows": ["+{size} a day", "每天增加 {size}"],
  "space.shrinks": ["−{size} a day", "每天减少 {size}"],
  "space.still": ["unchanged", "无变化"],
  "space.disks": ["Space by disk", "各云硬盘占用"],
  "space.disksLead": [
    "The {shown} largest of {count} disks that have data in the store, of all accounts. Growth is the mean of the last 30 days, or of as many as are known.",
    "存储中有数据的 {count} 块云硬盘（含所有账号）中占用最多的 {shown} 块。增长量为最近 30 天或已知天数的平均值。",
  ],
  "space.disk": ["Disk", "云硬盘"],
  "space.gone": ["(deleted; its snapshots are kept)", "（已删除，快照仍保留）"],
  "space.share": ["Share", "占比"],
  "space.weekAgo": ["7 days ago", "7 天前"],
  "space.monthAgo": ["30 days ago", "30 天前"],
  "space.growth": ["Growth", "增长"],
} as const;
